"""LiGR: the block as it is published, and the heads that it refuses."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import layer_norm, silu

from recbole_tslrec.models.ligr import ligr_block

MakeConfig = Callable[..., Any]
LENGTH, WIDTH, INNER = 5, 8, 16  # of the row; hidden_size and inner_size of make_config


def plainly(block: Any, hidden: Tensor, heads: int) -> Tensor:
    """The block of one row as the paper writes it, position by position, [L, d]."""
    first, second = block
    normed = layer_norm(hidden, (WIDTH,), first.LayerNorm.weight, first.LayerNorm.bias, first.LayerNorm.eps)
    query, key, value = (
        normed @ weight.T + bias
        for weight, bias in zip(first.layer.input.weight.chunk(3), first.layer.input.bias.chunk(3), strict=True)
    )
    attended, size = torch.zeros_like(hidden), WIDTH // heads
    for head in (slice(start, start + size) for start in range(0, WIDTH, size)):
        for t in range(len(hidden)):
            scores = key[: t + 1, head] @ query[t, head] / size**0.5
            attended[t, head] = scores.softmax(0) @ value[: t + 1, head]
    hidden = hidden + first.gate(hidden).sigmoid() * first.layer.output(attended)

    normed = layer_norm(hidden, (WIDTH,), second.LayerNorm.weight, second.LayerNorm.bias, second.LayerNorm.eps)
    gate, inner = second.layer.input.weight[:INNER], second.layer.input.weight[INNER:]
    fed = (silu(normed @ gate.T) * (normed @ inner.T)) @ second.layer.output.weight.T
    return hidden + second.gate(hidden).sigmoid() * fed


@pytest.mark.parametrize("heads", [1, 2])
@torch.no_grad()
def test_the_block_is_the_published_one(make_config: MakeConfig, heads: int) -> None:
    block = ligr_block(make_config("LiGR", n_heads=heads), LENGTH).eval().double()
    torch.manual_seed(0)
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter)
    hidden = torch.randn(1, LENGTH, WIDTH, dtype=torch.float64)
    torch.testing.assert_close(block(hidden)[0], plainly(block, hidden[0], heads), rtol=1e-10, atol=1e-10)


def test_heads_must_divide_the_width(make_config: MakeConfig) -> None:
    with pytest.raises(ValueError, match=r"hidden_size \[8\] must be a multiple of n_heads \[3\]"):
        ligr_block(make_config("LiGR", n_heads=3), LENGTH)
