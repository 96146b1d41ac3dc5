"""Every way of loading gives the same parts, and each measure the figures that it promises."""

import json
from pathlib import Path

import catalogue
import measure
import pytest
import scale


def test_ratios_of_loading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """RecBole's parts, those of the first run and those that are mapped are compared row by row inside."""
    monkeypatch.setattr(scale, "MEASURES", [scale.loading])
    report = measure.Report("scale", tmp_path / "found.json")
    scale.measure(scale.Scale(users=200, items=50, mean_length=8, rounds=1), report)
    assert report.failures == {}
    found = json.loads((tmp_path / "found.json").read_text())
    (rows,) = found["tables"].values()
    assert [row["loading"] for row in rows] == ["RecBole", "first run", "later run"]
    assert len({row["rows"] for row in rows}) == 1
    assert set(found["ratios"]) == {
        "load_again_vs_first",
        "load_vs_recbole",
        "load_first_vs_recbole",
        "load_memory",
        "load_first_memory",
    }


def test_ratios_are_rivals_over_ours() -> None:
    found = {
        "RecBole": {"CPU seconds": 60.0, "peak MiB": 900.0},
        "first run": {"CPU seconds": 20.0, "peak MiB": 300.0},
        "later run": {"CPU seconds": 0.5, "peak MiB": 100.0},
    }
    judged = {"load_vs_recbole": 120, "load_first_vs_recbole": 3, "load_again_vs_first": 40}
    assert scale.ratios(found) == {**judged, "load_memory": 9, "load_first_memory": 3}
    assert set(scale.ratios({name: found[name] for name in ("first run", "later run")})) == {"load_again_vs_first"}


def test_ratios_of_the_catalogue() -> None:
    ratios = (
        catalogue.ranking_vs_fixed_chunks(items=500, users=8, rounds=1),
        catalogue.sft_split_growth(few=200, many=400, batch_size=8, rounds=1),
        catalogue.recommend_throughput(items=200, users=16, rounds=1),
    )
    assert min(ratios) > 0
