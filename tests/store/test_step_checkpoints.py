"""Which step checkpoints are kept."""

from pathlib import Path

import pytest

from recbole_tslrec.store.step_checkpoints import (
    STEP_CHECKPOINTS,
    begin_step_checkpoint,
    finish_step_checkpoint,
    latest_step_checkpoint,
)


@pytest.mark.parametrize(
    ("steps", "kept"),
    [
        ([5], [5]),
        ([5, 10, 15], [10, 15]),
        ([20, 25, 4], [4]),  # the training was not gone on with, but begun anew
        ([20, 25, 4, 8, 12], [8, 12]),
        ([20, 25, 25], [20, 25]),
    ],
)
def test_the_two_newest_of_a_training_are_kept(tmp_path: Path, steps: list[int], kept: list[int]) -> None:
    for step in steps:
        begin_step_checkpoint(tmp_path, step)
        finish_step_checkpoint(tmp_path, step, {}, tmp_path / "best")
    assert sorted(int(path.name) for path in (tmp_path / STEP_CHECKPOINTS).iterdir()) == kept
    latest = latest_step_checkpoint(tmp_path)
    assert latest is not None
    assert int(latest.name) == steps[-1]
