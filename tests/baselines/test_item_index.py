"""Item indices: numbers by first appearance, paths by co-occurrence, and nothing of held-out items in them."""

import numpy as np
from numpy.typing import NDArray

from recbole_tslrec.baselines.item_index import (
    co_occurrence,
    collaborative_paths,
    random_numbers,
    sequential_numbers,
    spectral_clusters,
)
from recbole_tslrec.data.histories import Histories


def histories(*items: list[int]) -> Histories:
    """Users with these items."""
    tokens = [f"u{user}" for user in range(len(items))]
    return Histories(tokens, np.array([i for own in items for i in own]), np.cumsum([0, *map(len, items)]))


def two_worlds(users: int = 20, seed: int = 0) -> Histories:
    """Half of the users have items 1..6, the others items 7..12, four each."""
    random = np.random.default_rng(seed)
    return histories(*(sorted(random.permutation(6)[:4] + 1 + 6 * (user % 2)) for user in range(users)))


def test_items_are_numbered_as_users_meet_them() -> None:
    """Items 3 1, then 4; items 2 and 5 have no interaction and come last."""
    assert sequential_numbers(histories([3, 1, 3], [1, 4]), 5).tolist() == [1002, 1004, 1001, 1003, 1005]


def test_random_numbers_are_the_same_ones_in_another_order() -> None:
    numbers = random_numbers(50, seed=1)
    assert sorted(numbers.tolist()) == list(range(1001, 1051))
    assert numbers.tolist() != sorted(numbers.tolist())
    assert random_numbers(50, seed=1).tolist() == numbers.tolist()
    assert random_numbers(50, seed=2).tolist() != numbers.tolist()


def test_pairs_of_a_history_are_counted() -> None:
    """1 2 1 has two pairs of 1 and 2, and 1 2 one more; a pair of an item with itself is none."""
    counts = co_occurrence(histories([1, 2, 1], [1, 2], [3]), 3).toarray()
    assert counts.tolist() == [[0, 3, 0], [3, 0, 0], [0, 0, 0]]


def test_items_that_are_bought_together_share_their_first_token() -> None:
    paths = collaborative_paths(two_worlds(), 12, clusters=2, token_size=6, seed=0)
    firsts = [path[0] for path in paths]
    assert len(set(firsts[:6])) == len(set(firsts[6:])) == 1
    assert firsts[0] != firsts[6]
    assert [path[1] for path in paths] == [0, 1, 2, 3, 4, 5] * 2


def halves(pairs: object, clusters: int, seed: int) -> NDArray[np.int64]:
    """The first and the second half of a group."""
    size = pairs.shape[0]  # type: ignore[attr-defined]
    return (np.arange(size) >= size / 2).astype(np.int64)


def test_tokens_are_counted_over_all_levels_modulo_the_token_size() -> None:
    """Twelve items in halves down to three: clusters 0 1, then 2 3 of the first and 4 5 of the second, modulo three."""
    paths = collaborative_paths(histories(list(range(1, 13))), 12, 2, 3, 0, halves)
    assert paths[:3] == [(0, 2, 0), (0, 2, 1), (0, 2, 2)]
    assert paths[3:6] == [(0, 0, 0), (0, 0, 1), (0, 0, 2)]
    assert paths[6:9] == [(1, 1, 0), (1, 1, 1), (1, 1, 2)]
    assert paths[9:] == [(1, 2, 0), (1, 2, 1), (1, 2, 2)]


def test_an_item_without_training_has_a_token_of_its_own() -> None:
    paths = collaborative_paths(histories([1, 2], [2, 4]), 5, 2, 4, 0)
    assert paths == [(0,), (1,), (4,), (2,), (5,)]


def test_a_group_that_clustering_leaves_whole_is_cut() -> None:
    paths = collaborative_paths(
        histories(list(range(1, 9))), 8, 2, 2, 0, lambda pairs, clusters, seed: np.zeros(pairs.shape[0], np.int64)
    )
    assert len(set(paths)) == 8


def test_the_same_clusters_every_time() -> None:
    pairs = co_occurrence(two_worlds(), 12)
    assert spectral_clusters(pairs, 2, 3).tolist() == spectral_clusters(pairs, 2, 3).tolist()
