"""Vectors that say nothing, since many items have the same, or the same number in many columns."""

from logging import getLogger
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from recbole_tslrec.augmentation.vector_rows import VectorsError

_MANY = 0.25  # of the items, or of the columns
_BLOCK = 1024  # rows that are looked at at once


def check_repeated(path: Path, rows: Tensor, refuse: bool) -> None:
    """Warn where a quarter of the items or more have a vector of zeros, or one that another item has as well.

    Args:
        path: where they were read, for messages.
        rows: float32 [n, H].
        refuse: whether to raise where all are alike; those that this package has made are a result, however poor.

    Raises:
        VectorsError: all are alike.
    """
    hashes: Any = _hashes(rows)
    _, row_kind, counts = hashes.unique(return_inverse=True, return_counts=True)
    if refuse and len(rows) > 1 and len(counts) == 1:
        raise VectorsError(f"the vectors of all {len(rows):,} items in {path} are the same; check what made them")
    repeated = int(counts[counts > 1].sum())
    if repeated >= _MANY * len(rows):
        first = int((row_kind == counts.argmax()).nonzero()[0])
        zero = "zero" if not rows[first].any() else "the same"
        getLogger().warning(
            f"{repeated:,} of {len(rows):,} items have a vector in {path} that other items have as well; those of "
            f"{int(counts.max()):,} are {zero}. Check what made them"
        )


def check_constant(path: Path, rows: Tensor) -> None:
    """Warn where a quarter of the columns or more hold one number for all items.

    Args:
        path: where they were read, for messages.
        rows: float32 [n, H].
    """
    constant = rows.amax(dim=0) == rows.amin(dim=0)  # [H]
    count = int(constant.sum())
    if len(rows) > 1 and count >= _MANY * len(constant):
        getLogger().warning(
            f"{count:,} of {len(constant):,} columns of the vectors in {path} hold the same number for all items, so "
            f"they say nothing; the first is column {int(constant.nonzero()[0]) + 1}. Check what made them"
        )


def _hashes(rows: Tensor) -> Tensor:
    """A number for each row [n, H], equal for equal rows: its numbers' bits times random factors, summed exactly."""
    generator = torch.Generator().manual_seed(0)
    factors = torch.randint(2**62, (rows.shape[1],), generator=generator) * 2 + 1
    blocks = torch.split(rows, _BLOCK)
    return torch.cat([((block + 0.0).view(torch.int32).long() * factors).sum(dim=1) for block in blocks])  # -0 is 0
