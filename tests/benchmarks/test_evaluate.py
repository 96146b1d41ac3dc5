"""Stock RecBole and the package rank the same catalogue with the same weights."""

import json
from pathlib import Path

import evaluate
import measure
import pytest
from trial import TrialFailed


def test_stock_takes_the_largest_batch_below_8_gib() -> None:
    """20 bytes a score: 429 users over a million items, 4,294 over 100 thousand."""
    assert evaluate.Scale(items=1_000_000, users=10_000).batch == 256
    assert evaluate.Scale(items=100_000, users=10_000).batch == 4096
    assert evaluate.Scale(items=100_000, users=1_000).batch == 512  # no larger than there are users


@pytest.mark.parametrize(("ours", "why"), [({"hit@5": 0.0}, "compared"), ({"hit@9": 0.5}, "compared")])
def test_metrics_that_say_nothing_are_refused(ours: dict[str, float], why: str) -> None:
    with pytest.raises(TrialFailed, match=why):
        evaluate.largest_difference({"hit@5": 0.0}, ours)


def test_the_largest_difference_of_the_metrics() -> None:
    assert evaluate.largest_difference({"a": 0.5, "b": 0.5}, {"a": 0.5, "b": 0.25}) == 0.25


def test_both_rank_alike(tmp_path: Path) -> None:
    report = measure.Report("evaluate", tmp_path / "evaluate.json")
    scale = evaluate.Scale(items=2000, users=300, rounds=1, settings={"hidden_size": 8, "inner_size": 16})
    evaluate.measure(scale, report)
    found = json.loads((tmp_path / "evaluate.json").read_text())
    assert set(found["ratios"]) == {"peak_memory", "seconds"}
    (rows,) = found["tables"].values()
    metrics = [{name: value for name, value in row.items() if "@" in name} for row in rows]
    assert metrics[0] == metrics[1]
    assert metrics[0]["hit@10"] > 0.05  # half of the next items are the last ones again
