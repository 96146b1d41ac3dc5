"""Candidates for a ranker: in training the next item among items that the user has not had."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recbole_tslrec.data.histories import Histories

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class FirstPlaces:
    """Where each user has each of its items for the first time.

    Attributes:
        item_count: N.
        pairs: user * (N + 1) + item of what was had, ascending, int64 [n].
        place: the first place among the user's interactions, int64 [n].
    """

    item_count: int
    pairs: Integers
    place: Integers

    @classmethod
    def of(cls, histories: Histories, item_count: int) -> "FirstPlaces":
        """Those of some users."""
        user = np.repeat(np.arange(len(histories)), histories.lengths)
        pairs, first = np.unique(user * (item_count + 1) + histories.items, return_index=True)
        return cls(item_count, pairs, first - histories.offsets[user[first]])

    def had_before(self, user: Integers, place: Integers, items: Integers) -> NDArray[np.bool_]:
        """Whether users have had items before a place in their histories: [E], [E] and [E, k] -> [E, k]."""
        pairs = user[:, None] * (self.item_count + 1) + items
        found = np.minimum(np.searchsorted(self.pairs, pairs), len(self.pairs) - 1)
        before: NDArray[np.bool_] = (self.pairs[found] == pairs) & (self.place[found] < place[:, None])
        return before


def with_negatives(
    firsts: FirstPlaces, user: Integers, place: Integers, target: Integers, count: int, random: np.random.Generator
) -> tuple[Integers, Integers]:
    """The target among uniformly drawn items that its user has not had before, in random order.

    Unlike the published ranker, no item stands there twice. A user who has had almost all items gets fewer.

    Args:
        firsts: what users have had.
        user: of each example, int64 [E].
        place: of its target in the user's history, int64 [E].
        target: item ids, int64 [E].
        count: candidates, the target one of them.
        random: draws them.

    Returns:
        Item ids, 0 behind where there are fewer, int64 [E, count], and the place of each target, int64 [E].
    """
    negatives = np.zeros((len(target), count - 1), dtype=np.int64)
    left = np.arange(len(target))
    while len(left):
        negatives[left] = _draw(firsts, user[left], place[left], target[left], negatives[left], random)
        left = left[(negatives[left] == 0).any(axis=1)]
        possible = firsts.item_count - 1 - _had_count(firsts, user[left], place[left], target[left])
        left = left[(negatives[left] > 0).sum(axis=1) < possible]
    items = np.concatenate([target[:, None], negatives], axis=1)
    order = random.random(items.shape)
    order[items == 0] = 2  # behind the others
    order = np.argsort(order, axis=1)
    return np.take_along_axis(items, order, axis=1), np.argmax(order == 0, axis=1)


def _draw(
    firsts: FirstPlaces, user: Integers, place: Integers, target: Integers, kept: Integers, random: np.random.Generator
) -> Integers:
    """Fill the zeros of ``kept`` [E, k] with new items, as far as drawn ones are allowed."""
    width = kept.shape[1]
    drawn = random.integers(1, firsts.item_count + 1, (len(kept), width))
    drawn[firsts.had_before(user, place, drawn) | (drawn == target[:, None])] = 0
    both = np.concatenate([kept, drawn], axis=1)  # [E, 2 k]
    order = np.argsort(both, axis=1, kind="stable")  # of equal ones the kept one first
    ordered = np.take_along_axis(both, order, axis=1)
    again = np.zeros(both.shape, dtype=np.bool_)
    np.put_along_axis(again, order[:, 1:], ordered[:, 1:] == ordered[:, :-1], axis=1)
    both[again] = 0
    filled = np.argsort(both == 0, axis=1, kind="stable")[:, :width]  # those that are not 0 first, in their order
    result: Integers = np.take_along_axis(both, filled, axis=1)
    return result


def _had_count(firsts: FirstPlaces, user: Integers, place: Integers, target: Integers) -> Integers:
    """How many distinct items beside the target a user has had before a place, [E]."""
    size = firsts.item_count + 1
    counts = np.empty(len(user), dtype=np.int64)
    for example, (of, end) in enumerate(zip(user.tolist(), place.tolist(), strict=True)):
        start, stop = np.searchsorted(firsts.pairs, [of * size, (of + 1) * size])
        counts[example] = (firsts.place[start:stop] < end).sum()
    return counts - firsts.had_before(user, place, target[:, None])[:, 0]
