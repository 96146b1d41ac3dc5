"""Both Casers take steps on the same data, in either precision, and a ratio comes out for each."""

import json
from pathlib import Path

import caser
import measure


def test_a_ratio_for_each_precision(tmp_path: Path) -> None:
    report = measure.Report("caser", tmp_path / "found.json")
    small = {"embedding_size": 8, "MAX_ITEM_LIST_LENGTH": 6, "train_batch_size": 64}
    caser.measure(caser.Scale(share=0.01, rounds=1, steps=1, settings=small), report)
    found = json.loads((tmp_path / "found.json").read_text())
    assert [row["contender"] for rows in found["tables"].values() for row in rows] == ["stock", "prefix"] * 2
    assert set(found["ratios"]) == {"caser_step_fp32", "caser_step_bf16"}
    assert all(ratio > 0 for ratio in found["ratios"].values())
