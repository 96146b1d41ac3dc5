"""``target_view: rest``: what is in the prompt, and what is left to predict."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from recbole_tslrec.data.groupings import Grouping
from recbole_tslrec.data.histories import Histories
from recbole_tslrec.reconstruction.examples import RestViews, user_examples
from recbole_tslrec.reconstruction.views import split_histories

LENGTHS = np.array([1, 2, 3, 7, 40] * 20)
USERS = len(LENGTHS)
ITEMS = np.random.default_rng(0).integers(1, 13, LENGTHS.sum())  # twelve items, so that users repeat some
HISTORIES = Histories([f"u{u}" for u in range(USERS)], ITEMS, np.concatenate([[0], np.cumsum(LENGTHS)]))


def parts(max_items: int = 5, seed: int = 0, epoch: int = 0) -> list[tuple[list[int], list[int]]]:
    """The prompt and the rest of each user."""
    prompts, rests = split_histories(HISTORIES, max_items, seed, epoch)
    return [(prompts[user].tolist(), rests[user].tolist()) for user in range(USERS)]


@pytest.mark.parametrize("epoch", [0, 1])
def test_prompt_and_rest_are_the_whole_history(epoch: int) -> None:
    for user, (prompt, rest) in enumerate(parts(epoch=epoch)):
        assert sorted(prompt + rest) == sorted(HISTORIES[user].tolist())


def test_both_are_in_time_order() -> None:
    """With items numbered by time, order in time is order of number."""
    in_order = Histories(HISTORIES.user_tokens, np.arange(1, len(ITEMS) + 1), HISTORIES.offsets)
    for part in split_histories(in_order, 5, seed=0, epoch=0):
        assert (np.diff(part.items) > 0).all()


def test_sizes_leave_something_to_predict_and_fit_the_prompt() -> None:
    for length, (prompt, _) in zip(LENGTHS, parts(), strict=True):
        assert min(1, length - 1) <= len(prompt) <= min(length - 1, 5)


def test_a_user_with_one_interaction_has_no_prompt() -> None:
    assert [len(prompt) for (prompt, _), length in zip(parts(), LENGTHS, strict=True) if length == 1] == [0] * 20


def test_the_same_seed_and_epoch_give_the_same_views() -> None:
    assert parts(seed=3, epoch=2) == parts(seed=3, epoch=2)


def test_another_seed_or_epoch_gives_other_views() -> None:
    assert parts(seed=3, epoch=2) != parts(seed=4, epoch=2)
    assert parts(seed=3, epoch=2) != parts(seed=3, epoch=3)


def test_how_often_a_prompt_has_each_size() -> None:
    """Of five items, half of the prompts have one, and the other half 1, 2, 3 or 4: 5/8, 1/8, 1/8 and 1/8."""
    users = 20_000
    same = Histories([""] * users, np.tile([1, 2, 3, 4, 5], users), np.arange(users + 1) * 5)
    prompts, _ = split_histories(same, 50, seed=0, epoch=0)
    shares = np.bincount(prompts.lengths, minlength=6) / users
    np.testing.assert_allclose(shares, [0, 5 / 8, 1 / 8, 1 / 8, 1 / 8, 0], atol=0.01)
    np.testing.assert_allclose(np.bincount(prompts.items)[1:] / len(prompts.items), 0.2, atol=0.01)  # no place favoured


# as examples

GROUPING = Grouping(torch.arange(12) % 3, 3)
WHOLE = replace(
    user_examples(HISTORIES, torch.zeros(USERS, 3), 5, batch_size=4, seed=0), chosen=np.flatnonzero(LENGTHS > 1)
)
REST = RestViews(HISTORIES, GROUPING, 5, WHOLE)


def test_own_is_the_same_in_every_epoch() -> None:
    assert WHOLE.in_epoch(0) is WHOLE.in_epoch(1) is WHOLE


def test_the_target_is_of_the_rest() -> None:
    view = REST.in_epoch(2)
    prompts, rests = split_histories(HISTORIES, 5, seed=0, epoch=2)
    for user in view.chosen:
        assert view.items[view.starts[user] : view.ends[user]].tolist() == prompts[user].tolist()
        rest = rests[user] - 1
        shares = [np.mean(rest % 3 == k) for k in range(3)]
        assert view.targets[user].tolist() == pytest.approx(shares)


def test_steps_are_planned_by_the_lengths_of_the_views() -> None:
    """Users of a step are of about one length: sorted in their window, the one with the next longest follows."""
    view = REST.in_epoch(1)
    assert view.item_counts.max() == 5
    assert view.item_counts[view.chosen].sum() < WHOLE.item_counts[WHOLE.chosen].sum()
    spread = [np.ptp(view.item_counts[step]) for step in view.steps(1)]
    assert np.mean(spread) < 1
    assert len(view.steps(1)) == len(WHOLE.steps(0))  # as the schedule of the learning rate expects


def test_an_epoch_has_the_users_of_the_whole_histories() -> None:
    assert len(REST) == len(WHOLE) == len(REST.in_epoch(3))
    assert REST.in_epoch(3).chosen.tolist() == WHOLE.chosen.tolist()
    assert REST.longest_prompt == WHOLE.longest_prompt == 5
