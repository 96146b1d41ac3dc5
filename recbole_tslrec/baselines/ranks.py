"""The figure by which a baseline's best epoch is chosen."""

import torch
from torch import Tensor


def ranks_of_targets(scores: Tensor, target: Tensor) -> Tensor:
    """The rank of one target a row, from 1: int64 [B].

    Of equal scores the first comes first. A score that is no number counts as better than the target, and a target with
    such a score comes last, so that a diverged network looks bad.

    Args:
        scores: [B, n].
        target: its place, int64 [B].
    """
    target = target.unsqueeze(1)
    own = scores.gather(1, target)  # [B, 1]
    place = torch.arange(scores.shape[1], device=scores.device)
    return (~(scores <= own) | ((scores == own) & (place <= target))).sum(dim=1)


def ndcg_of_ranks(rank: Tensor, cutoff: int) -> Tensor:
    """1 / log2(1 + rank) of one target a row, 0 beyond the cut-off: ranks from 1, int64 [B] -> float32 [B]."""
    gain = 1 / (1 + rank.double()).log2()
    return torch.where(rank <= cutoff, gain, 0.0).float()
