"""``python -m recbole_tslrec data download|import|stats``."""

import hashlib
import json
import re
from pathlib import Path

import pytest

from recbole_tslrec import cli
from recbole_tslrec.data.content import SourceError
from recbole_tslrec.data.paper_counts import Counts
from recbole_tslrec.data.public_datasets import PUBLIC_DATASETS, PublicDataset, PublicFile
from recbole_tslrec.data_command import main


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
    assert re.search(r"unit of time +places in the user's sequence\n", written)
    (row,) = json.loads((tmp_path / "reports" / "statistics-toy" / "in-detail.json").read_text())["table"]
    assert (row["users"], row["repeated interactions"]) == (2, 2)
    endings = {path.suffix for path in (tmp_path / "reports" / "statistics-toy").glob("distributions.*")}
    assert {".png", ".svg"} <= endings
    page = (tmp_path / "reports" / "statistics-toy" / "statistics-toy.md").read_text()
    assert "data stats --dataset=toy --data_path=dataset" in page


def test_command_downloads_once_and_says_the_terms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    content = b"user_id,item_id,timestamp\na,x,1\na,y,2\n"
    file = PublicFile("https://files.invalid/toy.csv", f"md5:{hashlib.md5(content).hexdigest()}")
    toy = PublicDataset("toy", "Toys, for research", (file,), "toy.csv", counts=Counts(1, 2, 2), note="Mind the edges")
    monkeypatch.setitem(PUBLIC_DATASETS, "toy", toy)
    monkeypatch.setattr("sys.argv", ["recbole-tslrec", "data", "download", "toy", "--data_path=data"])
    with pytest.raises(SystemExit, match=r"error: https://files\.invalid/toy\.csv cannot be had"):
        cli.console()
    assert capsys.readouterr().out == "Toys, for research\n"
    (tmp_path / "data" / "downloads" / "toy.csv").write_bytes(content)
    cli.console()
    assert capsys.readouterr().out == (
        "Toys, for research\nread as table, user_id as user, item_id as item, timestamp as time: 3 lines (1 header)\n"
        "2 interactions read, 2 kept\ndata/toy: 1 users, 2 items, 2 interactions, as published\nMind the edges\n"
    )
    cli.console()
    assert capsys.readouterr().out == "data/toy exists; nothing was done. --overwrite replaces it as a whole\n"


def test_a_name_that_recbole_keeps_for_its_own_copy_is_refused() -> None:
    with pytest.raises(SourceError, match=r"dataset name \[ml-100k\] always means RecBole's own copy"):
        main(["import", "ml-100k", "--source=mine.csv"])
