"""Every loss trains over the catalogue, and a row tells what it took."""

import json
from pathlib import Path

import large_catalogue
import measure


def test_a_row_for_each_loss(tmp_path: Path) -> None:
    report = measure.Report("large_catalogue", tmp_path / "found.json")
    small = {"hidden_size": 8, "inner_size": 16, "loss_negatives": 50}
    large_catalogue.measure(large_catalogue.Scale(items=500, users=60, steps=1, settings=small), report)
    (rows,) = json.loads((tmp_path / "found.json").read_text())["tables"].values()
    assert [row["loss_type"] for row in rows] == ["CE", "sampled_softmax", "gBCE"]
    assert all(row["seconds a step"] > 0 for row in rows)
