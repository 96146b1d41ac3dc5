"""Vectors at a common place and scale: centred, with root-mean-square norm 1."""

import torch
from torch import Tensor

_BLOCK = 256  # rows in float64 at once: they stay in the cache


def center_and_norm(rows: Tensor) -> tuple[Tensor, Tensor]:
    """The mean [H] of the rows [n, H], and their root-mean-square distance [] from it, in float64.

    The distance of rows that are all alike is infinite, so that they become zero.
    """
    blocks = torch.split(rows, _BLOCK)
    center = torch.stack([block.sum(dim=0, dtype=torch.float64) for block in blocks]).sum(dim=0) / len(rows)
    squares = torch.stack([(block - center).square().sum() for block in blocks]).sum()
    norm = (squares / len(rows)).sqrt()
    is_rounding = norm <= 1e-12 * center.norm()  # float32 rows that differ at all differ by more
    return center, norm.masked_fill(is_rounding, torch.inf)


def standardise(rows: Tensor, center: Tensor, norm: Tensor, into: Tensor | None = None) -> Tensor:
    """(rows - center) / norm for [n, H], computed in float64 -> float32, in ``into`` (it may be ``rows``) if given."""
    found = torch.empty(rows.shape, dtype=torch.float32, device=rows.device) if into is None else into
    for block, place in zip(torch.split(rows, _BLOCK), torch.split(found, _BLOCK), strict=True):
        place.copy_((block - center) / norm)
    return found
