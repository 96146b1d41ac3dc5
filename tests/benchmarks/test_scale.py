"""Each loading gives the same parts, and the figures are made of the right ones."""

import json
from pathlib import Path

import measure
import pytest
import scale


def test_ratios_are_rivals_over_ours() -> None:
    found = {
        "RecBole": {"CPU seconds": 60.0, "peak MiB": 900.0},
        "first run": {"CPU seconds": 20.0, "peak MiB": 300.0},
        "later run": {"CPU seconds": 0.5, "peak MiB": 100.0},
    }
    judged = {"load_vs_recbole": 120, "load_first_vs_recbole": 3, "load_again_vs_first": 40}
    assert scale.ratios(found) == {**judged, "load_memory": 9, "load_first_memory": 3}
    assert set(scale.ratios({name: found[name] for name in ("first run", "later run")})) == {"load_again_vs_first"}


def test_toy_is_loaded_alike_by_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = measure.Report("scale", tmp_path / "scale.json")
    scale.measure(scale.Scale(users=60, items=40, mean_length=10, rounds=1), report)
    found = json.loads((tmp_path / "scale.json").read_text())
    assert found["failures"] == {}
    (rows,) = found["tables"].values()
    assert [row["loading"] for row in rows] == ["RecBole", "first run", "later run"]
    assert len({row["rows"] for row in rows}) == 1
    assert {"load_vs_recbole", "load_again_vs_first", "load_memory"} <= set(found["ratios"])
