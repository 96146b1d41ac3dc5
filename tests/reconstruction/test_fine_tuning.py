"""Which users are trained on, and what a prediction that ignores the user would have for a loss."""

import logging
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from recbole_tslrec.reconstruction.examples import UserExamples
from recbole_tslrec.reconstruction.fine_tuning import loss_of_mean_target, split_users
from recbole_tslrec.data.histories import Histories

LENGTHS = np.array([1, 3, 2, 5, 1, 4, 2, 3, 6, 2])
HISTORIES = Histories(
    [f"u{u}" for u in range(10)], np.arange(LENGTHS.sum()) % 4 + 1, np.concatenate([[0], np.cumsum(LENGTHS)])
)
OWN = UserExamples(HISTORIES, torch.eye(2)[LENGTHS % 2], 50, np.arange(10), 4, seed=0)
REST = replace(OWN, rest_groupings=[(torch.tensor([0, 1, 0, 1]), 2)])


def test_with_target_view_own_every_user_is_in_one_part() -> None:
    train, valid = split_users(OWN, 0.3)
    assert sorted([*train.users, *valid.users]) == list(range(10))
    assert len(valid) == 3


def test_with_target_view_rest_users_with_one_interaction_are_left_out_and_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO):
        train, valid = split_users(REST, 0.3)
    assert sorted([*train.users, *valid.users]) == np.flatnonzero(LENGTHS > 1).tolist()
    assert "2 users with one training interaction are left out" in caplog.text


def test_views_of_held_out_users_are_the_same_in_every_epoch() -> None:
    train, valid = split_users(REST, 0.3)
    assert valid.in_epoch(0) is valid.in_epoch(5) is valid
    assert (valid.item_counts[valid.users] < LENGTHS[valid.users]).all()
    assert train.in_epoch(0).histories.items.tolist() != train.in_epoch(1).histories.items.tolist()


def test_target_view_rest_without_users_that_have_a_rest_is_refused() -> None:
    single = Histories(["a", "b"], np.array([1, 2]), np.array([0, 1, 2]))
    with pytest.raises(ValueError, match=r"target_view \[rest\] needs users with two .*; 0 are left"):
        split_users(replace(REST, histories=single, users=np.arange(2)), 0.5)


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        ("mse", (1 / 8 + 1 / 8 + 1 / 2 + 0) / 4),
        ("kl", (-math.log(0.75) + 0.5 * math.log(2 / 3) + 0.5 * math.log(2) + math.log(2) + 0) / 4),
    ],
)
def test_loss_of_the_mean_target_by_hand(loss: str, expected: float) -> None:
    """The mean is (3/4, 1/4) and (1/2, 1/2); against (1, 0), (1/2, 1/2) of the one, (1, 0), (1/2, 1/2) of the other."""
    targets = torch.tensor([[1.0, 0.0, 1.0, 0.0], [0.5, 0.5, 0.0, 1.0], [1.0, 0.0, 1.0, 0.0], [0.5, 0.5, 0.5, 0.5]])
    train = replace(OWN, targets=targets, users=np.array([0, 1]))
    valid = replace(train, users=np.array([2, 3]))
    assert loss_of_mean_target(train, valid, [2, 2], loss) == pytest.approx(expected, abs=1e-6)


def test_the_mean_target_is_finite_where_no_training_user_has_a_group() -> None:
    targets = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    train = replace(OWN, targets=targets, users=np.array([0]))
    found = loss_of_mean_target(train, replace(train, users=np.array([1])), [2], "kl")
    assert found == pytest.approx(-math.log(1e-7), rel=1e-4)
