"""The paper's task: which users are trained on, from which prompt, and what ignoring the user would have for a loss."""

import logging
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from recbole_tslrec.data.groupings import Grouping
from recbole_tslrec.data.histories import Histories
from recbole_tslrec.reconstruction.examples import user_examples
from recbole_tslrec.reconstruction.loss import PreferenceObjective
from recbole_tslrec.reconstruction.settings import ReconstructionSettings
from recbole_tslrec.reconstruction.task import (
    load_prompt,
    loss_of_mean_target,
    reconstruction_task,
)
from recbole_tslrec.sft.examples import Examples
from recbole_tslrec.sft.task import Task

LENGTHS = np.array([1, 3, 2, 5, 1, 4, 2, 3, 6, 2])
HISTORIES = Histories(
    [f"u{u}" for u in range(10)], np.arange(LENGTHS.sum()) % 4 + 1, np.concatenate([[0], np.cumsum(LENGTHS)])
)
TARGETS = torch.eye(2)[LENGTHS % 2]
GROUPING = Grouping(torch.tensor([0, 1, 0, 1]), 2)
ROWS = torch.zeros(5, 3)

MakeTask = Callable[..., Task]


@pytest.fixture
def make_task(make_config: Callable[..., Any]) -> MakeTask:
    """``make_task(histories, **settings)``: ten users, two groups."""

    def make(histories: Histories = HISTORIES, **settings: Any) -> Task:
        own = {"group_count": 2, "sft_valid_ratio": 0.3, "prompt_max_items": 50, **settings}
        of_task = ReconstructionSettings.of(make_config(**own))
        return reconstruction_task(of_task, histories, TARGETS, GROUPING, ROWS)

    return make


def users_of(task: Task) -> list[int]:
    """Those that are trained on or held out."""
    return sorted([*task.train.in_epoch(0).chosen, *task.valid.chosen])


def test_with_target_view_own_every_user_is_in_one_part(make_task: MakeTask) -> None:
    task = make_task()
    assert users_of(task) == list(range(10))
    assert len(task.valid) == 3


def test_with_target_view_rest_users_with_one_interaction_are_left_out_and_counted(
    make_task: MakeTask, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        task = make_task(target_view="rest")
    assert users_of(task) == np.flatnonzero(LENGTHS > 1).tolist()
    assert "2 users with one training interaction are left out" in caplog.text


def test_views_of_held_out_users_are_the_same_in_every_epoch(make_task: MakeTask) -> None:
    task = make_task(target_view="rest")
    train, valid = task.train, task.valid
    assert valid.in_epoch(0) is valid.in_epoch(5) is valid
    assert (valid.item_counts[valid.chosen] < LENGTHS[valid.chosen]).all()
    assert train.in_epoch(0).items.tolist() != train.in_epoch(1).items.tolist()


def test_target_view_rest_without_users_that_have_a_rest_is_refused(make_task: MakeTask) -> None:
    single = Histories(["a", "b"], np.array([1, 2]), np.array([0, 1, 2]))
    with pytest.raises(ValueError, match=r"target_view \[rest\] needs users with two .*; 0 are left"):
        make_task(single, target_view="rest", sft_valid_ratio=0.5)


# a prediction that ignores the user

OWN = user_examples(HISTORIES, TARGETS, 50, batch_size=4, seed=0)


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        ("mse", (1 / 8 + 1 / 8) / 2),
        ("kl", (-math.log(0.75) + 0.5 * math.log(2 / 3) + 0.5 * math.log(2)) / 2),
    ],
)
def test_loss_of_the_mean_target_by_hand(loss: str, expected: float) -> None:
    """The mean is (3/4, 1/4), against (1, 0) and (1/2, 1/2)."""
    targets = torch.tensor([[1.0, 0.0], [0.5, 0.5], [1.0, 0.0], [0.5, 0.5]])
    train = replace(OWN, targets=targets, chosen=np.array([0, 1]))
    valid = replace(train, chosen=np.array([2, 3]))
    assert loss_of_mean_target(train, valid, PreferenceObjective(2, loss)) == pytest.approx(expected, abs=1e-6)


def test_the_mean_target_is_finite_where_no_training_user_has_a_group() -> None:
    targets = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    train = replace(OWN, targets=targets, chosen=np.array([0]))
    found = loss_of_mean_target(train, replace(train, chosen=np.array([1])), PreferenceObjective(2, "kl"))
    assert found == pytest.approx(-math.log(1e-7), rel=1e-4)


@pytest.mark.parametrize("target_view", ["own", "rest"])
def test_the_manifest_says_what_ignoring_the_user_would_have_for_a_loss(make_task: MakeTask, target_view: str) -> None:
    task = make_task(target_view=target_view)
    first: Examples = task.train.in_epoch(0)
    assert task.report() == {"mean_target_loss": loss_of_mean_target(first, task.valid, PreferenceObjective(2))}


# the prompt, and the network


def test_the_prompt_is_that_of_the_keys(make_config: Callable[..., Any]) -> None:
    keys = {"prompt_instruction": "{group_count}", "prompt_response": "R", "group_count": 7}
    short = load_prompt(ReconstructionSettings.of(make_config(**keys)))
    assert len(short.instruction) == 2  # BOS, "7"
    assert len(short.response) == 1
