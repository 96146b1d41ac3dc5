"""Control rows: what else goes through the same gate, trained with the same settings, in the place of h^v.

A gain of TSLRec means something only against them: vectors that know nothing, vectors without an LLM, an LLM without
Stage 1, what an ideal Stage 1 could say of an item, which items stand beside each other, and what the items' words say
without an LLM.
"""

from collections.abc import Sequence

import numpy as np
import torch
from scipy.sparse import coo_array, csr_array
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from torch import Tensor

from recbole_tslrec.compute.random_state import isolated_random_state
from recbole_tslrec.data.histories import Histories

_WIDTH = 64  # singular vectors; those of small singular values are noise once each has unit variance


def random_vectors(item_count: int, width: int, seed: int) -> Tensor:
    """Independent standard normal rows, [N, H]."""
    with isolated_random_state(seed):
        return torch.randn(item_count, width)


def tfidf_vectors(texts: Sequence[str], seed: int) -> tuple[Tensor, Tensor]:
    """The first 64 singular vectors of the TF-IDF of items' words, each scaled by its singular value.

    Args:
        texts: the texts of the items; empty where an item has none.
        seed: the seed of scikit-learn's randomised decomposition.

    Returns:
        Float32 [N, 64] (fewer where there are fewer words), and whether an item has a text, bool [N].
    """
    table = TfidfVectorizer(sublinear_tf=True, token_pattern=r"\S+").fit_transform(texts)  # [N, words]
    return _singular_vectors(table, seed), torch.tensor([bool(text) for text in texts])


def co_occurrence_vectors(
    histories: Histories, item_count: int, window: int, shift: float, seed: int
) -> tuple[Tensor, Tensor]:
    """The first 64 singular vectors of the positive mutual information of items that stand near each other.

    The entry of two items is max(0, log(p(i, j) / (p(i) p(j))) - log(shift)): what word2vec's skip-grams with ``shift``
    negatives factorise (Levy and Goldberg, NeurIPS 2014).

    Args:
        histories: the training part of every user, item ids 1..N.
        item_count: N.
        window: items at most so many positions apart count as near.
        shift: 1 for the plain mutual information; a larger one keeps stronger ties alone.
        seed: the seed of scikit-learn's randomised decomposition.

    Returns:
        Float32 [N, 64] (fewer where there are fewer items), and whether an item has any tie, bool [N].

    Raises:
        ValueError: no two items stand near each other more often than by chance.
    """
    count = _pair_counts(histories, item_count, window)
    first, second = count.coords
    total = count.sum(axis=1)  # [N]
    information = np.log(count.data * total.sum() / (total[first] * total[second])) - np.log(shift)
    kept = information > 0
    if not kept.any():
        raise ValueError(
            f"no two items stand within {window} positions of each other more than {shift} times as often as by "
            "chance, so there are no vectors of co-occurrence; raise co_occurrence_window or lower co_occurrence_shift"
        )
    ties = csr_array((information[kept], (first[kept], second[kept])), shape=count.shape)
    return _singular_vectors(ties, seed), torch.from_numpy(np.diff(ties.indptr) > 0)


def _pair_counts(histories: Histories, item_count: int, window: int) -> coo_array:
    """How often two different items stand at most ``window`` positions apart in a history, [N, N], symmetric."""
    owner = np.repeat(np.arange(len(histories)), histories.lengths)
    items = histories.items - 1
    count = csr_array((item_count, item_count))
    for distance in range(1, min(window, int(histories.lengths.max(initial=1)) - 1) + 1):
        near = (owner[distance:] == owner[:-distance]) & (items[distance:] != items[:-distance])
        pairs = (items[distance:][near], items[:-distance][near])
        count += csr_array((np.ones(len(pairs[0])), pairs), shape=count.shape)
    return coo_array(count + count.T)


def _singular_vectors(table: csr_array, seed: int) -> Tensor:
    """The first 64 singular vectors of the rows, each scaled by its singular value, float32 [N, at most 64]."""
    decomposition = TruncatedSVD(min(_WIDTH, *table.shape), random_state=seed)
    return torch.from_numpy(decomposition.fit_transform(table)).float()


def mean_targets(histories: Histories, targets: Tensor, item_count: int) -> tuple[Tensor, Tensor]:
    """For each item the mean preference target of the training users who have it, each of them once.

    It is what an ideal Stage 1 could say of an item: the target of a user of whom only this item is known.

    Args:
        histories: the training part of every user, item ids 1..N.
        targets: g-bar, [U, K].
        item_count: N.

    Returns:
        The means, float32 [N, K], and whether an item has a training user at all, bool [N].
    """
    owner = np.repeat(np.arange(len(histories)), histories.lengths)
    pairs = torch.from_numpy(np.unique(np.stack([histories.items - 1, owner], axis=1), axis=0))  # [P, 2], each once
    items, users = pairs[:, 0], pairs[:, 1]
    sums = torch.zeros(item_count, targets.shape[1], dtype=torch.float64)
    sums.index_add_(0, items, targets[users].double())
    count = torch.bincount(items, minlength=item_count)
    return (sums / count.clamp(min=1).unsqueeze(1)).float(), count > 0
