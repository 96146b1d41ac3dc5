"""Control rows: what else goes through the same gate, trained with the same settings, in the place of h^v (issue 5).

A gain of TSLRec means something only against them: vectors that know nothing, vectors without an LLM, an LLM without
Stage 1, and what an ideal Stage 1 could say of an item.
"""

import numpy as np
import torch
from torch import Tensor

from recbole_tslrec.random_stream import own_random_stream
from recbole_tslrec.reconstruction.histories import Histories

SFT = "sft"  # the method's own: the fine-tuned LLM's hidden states
KNOWLEDGE_SOURCES = {
    SFT: "the fine-tuned LLM's hidden states h^v, the paper's",
    "random": "random vectors of the LLM's width",
    "stage0": "the backbone's item embeddings e_v, no LLM",
    "untuned": "hidden states of the LLM before Stage 1",
    "co_interaction": "the mean preference target of the item's training users, no LLM",
}


def check_knowledge_source(source: str) -> None:
    """Refuse what is none of :data:`KNOWLEDGE_SOURCES`.

    Raises:
        ValueError: names them.
    """
    if source not in KNOWLEDGE_SOURCES:
        raise ValueError(f"knowledge_source [{source}] is not one of {', '.join(KNOWLEDGE_SOURCES)}")


def random_vectors(item_count: int, width: int, seed: int) -> Tensor:
    """Independent standard normal rows, [N, H]."""
    with own_random_stream(seed):
        return torch.randn(item_count, width)


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
