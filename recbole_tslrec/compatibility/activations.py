"""Activations in one pass."""

from typing import Any

from torch import Tensor
from torch.nn import functional


def apply() -> None:
    """Let every feed-forward layer of RecBole, also in plain models, compute gelu with torch's kernel.

    RecBole spells x / 2 * (1 + erf(x / sqrt(2))) out (recbole/model/layers.py, and a copy in fearec.py): five passes
    over the largest tensor of the layer, and four tensors kept for the backward pass where the kernel keeps one. The
    values are equal to rounding.
    """
    from recbole.model import layers
    from recbole.model.sequential_recommender import fearec

    for module in (layers, fearec):
        module.FeedForward.gelu = gelu


def gelu(layer: Any, hidden: Tensor) -> Tensor:
    """``FeedForward.gelu`` of RecBole; any shape."""
    return functional.gelu(hidden)
