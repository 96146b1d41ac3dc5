"""Item indices of P5 (Hua et al., "How to Index Item IDs", SIGIR-AP 2023): the tokens that stand for an item.

All of them are made of training interactions alone. Indices that number items in the order of all interactions, as the
first published files did, give test items to the model: a user's items, the held-out ones too, have numbers in a row.
"""

from collections import deque
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.cluster import SpectralClustering
from threadpoolctl import threadpool_limits

from recbole_tslrec.baselines.settings import P5IndexSettings
from recbole_tslrec.data.histories import Histories

FIRST_NUMBER = 1001
ItemPath = tuple[int, ...]
Clustering = Callable[[sparse.csr_matrix, int, int], NDArray[np.int64]]  # pairs, clusters, seed -> labels


def sequential_numbers(histories: Histories, item_count: int) -> NDArray[np.int64]:
    """Numbers from 1001 in the order in which items first appear, user after user; then those that training never saw.

    Args:
        histories: the training part of every user, in the order of the users.
        item_count: N.

    Returns:
        The number of each of the items 1..N, int64 [N].
    """
    seen, first = np.unique(histories.items, return_index=True)
    appeared = seen[np.argsort(first, kind="stable")]
    order = np.concatenate([appeared, np.setdiff1d(np.arange(1, item_count + 1), seen)])
    numbers = np.empty(item_count, dtype=np.int64)
    numbers[order - 1] = FIRST_NUMBER + np.arange(item_count)
    return numbers


def random_numbers(item_count: int, seed: int) -> NDArray[np.int64]:
    """The numbers of :func:`sequential_numbers`, shuffled, int64 [N]."""
    return FIRST_NUMBER + np.random.default_rng(seed).permutation(item_count)


def co_occurrence(histories: Histories, item_count: int) -> sparse.csr_matrix:
    """How many times two items stand in one training history, all pairs of interactions counted, [N, N].

    Args:
        histories: the training part of every user.
        item_count: N.
    """
    user = np.repeat(np.arange(len(histories)), histories.lengths)
    ones = np.ones(len(user), dtype=np.float64)
    had = sparse.csr_matrix((ones, (user, histories.items - 1)), shape=(len(histories), item_count))  # summed up
    pairs = (had.T @ had).tocsr()
    pairs.setdiag(0)
    return pairs


def spectral_clusters(pairs: sparse.csr_matrix, clusters: int, seed: int) -> NDArray[np.int64]:
    """scikit-learn's ``SpectralClustering`` with ``cluster_qr``; on one thread, so that it is the same every time.

    Args:
        pairs: co-occurrences of the group's items, [n, n].
        clusters: how many.
        seed: of the eigenvectors' start.

    Returns:
        A label of each item, int64 [n].
    """
    method = SpectralClustering(clusters, affinity="precomputed", assign_labels="cluster_qr", random_state=seed)
    with threadpool_limits(limits=1):
        labels: NDArray[np.int64] = method.fit_predict(pairs).astype(np.int64)
    return labels


def collaborative_paths(
    histories: Histories,
    item_count: int,
    clusters: int,
    token_size: int,
    seed: int,
    divide: Clustering = spectral_clusters,
) -> list[ItemPath]:
    """Paths through a tree of clusters: items that are bought together share their first tokens.

    Items are clustered by co-occurrence, and clusters of more than ``token_size`` items again. A cluster's token is its
    number, counted over all levels, modulo ``token_size``; an item's last token is its place in its cluster. An item
    that training never saw has one token of its own, above the others.

    Args:
        histories: the training part of every user.
        item_count: N.
        clusters: into which a group is divided.
        token_size: the most items of a group that is not divided, and the number of tokens.
        seed: of the clustering.
        divide: gives labels to the items of a group.

    Returns:
        The path of each of the items 1..N.
    """
    pairs = co_occurrence(histories, item_count)
    seen = np.unique(histories.items) - 1
    paths: list[ItemPath] = [()] * item_count
    waiting = deque([seen])
    count = 0
    while waiting:
        group = waiting.popleft()
        if len(group) <= token_size:
            for place, item in enumerate(group.tolist()):
                paths[item] += (place,)
            continue
        labels = divide(pairs[group][:, group], clusters, seed)
        for part in _parts(group, labels, clusters):
            for item in part.tolist():
                paths[item] += (count % token_size,)
            count += 1
            waiting.append(part)
    for place, item in enumerate(np.setdiff1d(np.arange(item_count), seen).tolist()):
        paths[item] = (token_size + place,)
    return paths


def item_paths(settings: P5IndexSettings, histories: Histories, item_count: int) -> list[ItemPath]:
    """The index of the items 1..N: one number each, or paths through clusters.

    Args:
        settings: which index.
        histories: the training part of every user.
        item_count: N.
    """
    if settings.p5_index == "collaborative":
        return collaborative_paths(histories, item_count, settings.p5_clusters, settings.p5_token_size, settings.seed)
    random = settings.p5_index == "random"
    numbers = random_numbers(item_count, settings.seed) if random else sequential_numbers(histories, item_count)
    return [(number,) for number in numbers.tolist()]


def _parts(group: NDArray[np.int64], labels: NDArray[np.int64], clusters: int) -> Iterator[NDArray[np.int64]]:
    """The clusters that are not empty; where one has all, equal pieces in the order of the items, so that it ends."""
    found = [group[labels == label] for label in np.unique(labels)]
    yield from found if len(found) > 1 else np.array_split(group, clusters)
