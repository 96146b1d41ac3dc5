"""Candidates of a ranker: the target once, no item that the user had before, none twice."""

import numpy as np
import pytest

from recbole_tslrec.baselines.candidates import FirstPlaces, with_negatives
from recbole_tslrec.data.histories import Histories

# items 1 2 3 1 of the first user, 4 5 of the second
HISTORIES = Histories(["a", "b"], np.array([1, 2, 3, 1, 4, 5]), np.array([0, 4, 6]))


def test_items_are_known_from_the_place_behind_their_first() -> None:
    firsts = FirstPlaces.of(HISTORIES, 5)
    user, place = np.array([0, 0, 1]), np.array([1, 3, 0])
    items = np.tile(np.arange(1, 6), (3, 1))
    assert firsts.had_before(user, place, items).tolist() == [
        [True, False, False, False, False],
        [True, True, True, False, False],
        [False] * 5,
    ]


def drawn(item_count: int, count: int, examples: int = 1, seed: int = 0) -> tuple[list[list[int]], list[int]]:
    """Candidates for the third interaction of the first user, item 3, several times."""
    user, place, target = (np.full(examples, value) for value in (0, 2, 3))
    firsts = FirstPlaces.of(HISTORIES, item_count)
    items, answer = with_negatives(firsts, user, place, target, count, np.random.default_rng(seed))
    return items.tolist(), answer.tolist()


@pytest.mark.parametrize("seed", range(5))
def test_candidates_are_the_target_and_items_not_had_before_each_once(seed: int) -> None:
    """Of nine items 1 and 2 were had before: six of the seven others are drawn, or the target is among them."""
    items, answer = drawn(9, 6, examples=50, seed=seed)
    for row, place in zip(items, answer, strict=True):
        assert row[place] == 3
        assert len(set(row)) == 6
        assert set(row) <= set(range(3, 10))


def test_where_few_items_are_left_there_are_fewer() -> None:
    """Of five items only 4 and 5 can stand beside the target."""
    items, answer = drawn(5, 6)
    assert sorted(items[0][:3]) == [3, 4, 5]
    assert items[0][3:] == [0, 0, 0]
    assert items[0][answer[0]] == 3


def test_items_and_places_are_drawn_evenly() -> None:
    """Two of six negatives each: a third of the rows; the target at each of three places in a third."""
    items, answer = drawn(9, 3, examples=6000)
    share = np.bincount(np.array(items).flatten(), minlength=10)[4:] / 6000
    assert share.tolist() == pytest.approx([1 / 3] * 6, abs=0.03)
    assert (np.bincount(answer, minlength=3) / 6000).tolist() == pytest.approx([1 / 3] * 3, abs=0.03)


def test_the_seed_decides() -> None:
    assert drawn(50, 20, seed=1) == drawn(50, 20, seed=1) != drawn(50, 20, seed=2)
