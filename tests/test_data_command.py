"""``python -m recbole_tslrec data import|stats``."""

import json
from pathlib import Path

import pytest

from recbole_tslrec import cli


def test_command_imports_and_describes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    (tmp_path / "given.txt").write_text("u1 x y z x\nu2 y y z\n")

    def call(*argv: str) -> str:
        monkeypatch.setattr("sys.argv", ["recbole-tslrec", "data", *argv])
        cli.console()
        return capsys.readouterr().out

    assert "dataset/toy: 2 users, 3 items, 7 interactions" in call("import", "toy", "--source=given.txt")
    written = call("stats", "--dataset=toy", "--data_path=dataset", "--output_dir=reports")
    assert "test targets already in the history" in written
    (row,) = json.loads((tmp_path / "reports" / "statistics-toy" / "in-detail.json").read_text())["table"]
    assert (row["users"], row["repeated interactions"]) == (2, 2)
    endings = {path.suffix for path in (tmp_path / "reports" / "statistics-toy").glob("distributions.*")}
    assert {".png", ".svg"} <= endings
