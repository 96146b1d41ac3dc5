"""The figure by which a baseline's best epoch is chosen."""

import torch
from torch import Tensor


def ndcg_of_ranks(rank: Tensor, cutoff: int) -> Tensor:
    """1 / log2(1 + rank) of one target a row, 0 beyond the cut-off: ranks from 1, int64 [B] -> float32 [B]."""
    gain = 1 / (1 + rank.double()).log2()
    return torch.where(rank <= cutoff, gain, 0.0).float()
