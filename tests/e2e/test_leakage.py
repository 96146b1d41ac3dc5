"""No validation or test interaction reaches Stages 0 to 2."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from recbole_tslrec.pipeline import run_stages
from tests.conftest import walks

STAGES_1_AND_2 = ("backbone", "item_embeddings", "groups", "targets", "sft", "knowledge")
LENGTH = 12


def held_out_last(seed_of_held_out: int) -> list[tuple[str, str, float]]:
    """The same training parts, other validation and test items.

    The held-out rows come last in the file: RecBole numbers items in the order of the file.
    """
    rows = walks(length=LENGTH)
    training = [row for row in rows if row[2] < LENGTH - 2]
    generator = torch.Generator().manual_seed(seed_of_held_out)
    held_out = [
        (user, f"i{int(torch.randint(30, (1,), generator=generator))}", time)
        for user, _, time in rows
        if time >= LENGTH - 2
    ]
    return [*training, *held_out]


@pytest.mark.parametrize("export_context", ["single", "users"])
def test_other_held_out_items_leave_every_artifact_bit_equal(
    make_config: Callable[..., Any], export_context: str
) -> None:
    """eval_step 0: choosing the epoch by validation, which the protocol wants, is the one thing left out."""
    files = []
    for seed in (1, 2):
        settings = {"epochs": 2, "eval_step": 0, "export_context": export_context}
        config = make_config(
            "TSLRecSASRec", interactions=held_out_last(seed), artifacts_dir=f"artifacts-{seed}", **settings
        )
        run = run_stages(config, stop_after="knowledge")
        files.append({stage: run.artifacts[stage].manifest["files"] for stage in STAGES_1_AND_2})
        fingerprint = run.data.description["fingerprint"]
        files[-1]["data"] = fingerprint
    first, second = files
    assert first.pop("data") != second.pop("data")  # the held-out items do differ
    for stage in STAGES_1_AND_2:
        assert first[stage] == second[stage], stage


def test_a_changed_training_item_does_reach_the_artifacts(make_config: Callable[..., Any]) -> None:
    """The control: the comparison above can fail."""
    rows = held_out_last(1)
    other = [(rows[0][0], rows[1][1], rows[0][2]), *rows[1:]]
    hashes = [
        run_stages(
            make_config("TSLRecSASRec", interactions=data, eval_step=0, artifacts_dir=name), stop_after="targets"
        )
        .artifacts["targets"]
        .hash
        for name, data in (("a", rows), ("b", other))
    ]
    assert hashes[0] != hashes[1]
