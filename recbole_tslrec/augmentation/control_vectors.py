"""Control rows: what else goes through the same gate, trained with the same settings, in the place of h^v.

A gain of TSLRec means something only against them: vectors that know nothing, vectors without an LLM, an LLM without
Stage 1, what an ideal Stage 1 could say of an item, and what the items' words say without an LLM.
"""

from collections.abc import Sequence

import numpy as np
import torch
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from torch import Tensor

from recbole_tslrec.compute.random_state import isolated_random_state
from recbole_tslrec.data.histories import Histories

_TFIDF_WIDTH = 64  # singular vectors; those of small singular values are noise once each has unit variance


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
    vectors = TruncatedSVD(min(_TFIDF_WIDTH, *table.shape), random_state=seed).fit_transform(table)
    return torch.from_numpy(vectors).float(), torch.tensor([bool(text) for text in texts])


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
