"""HSTU: the block as it is published, and the heads that it refuses."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import layer_norm, silu

from recbole_tslrec.models.hstu import HSTUBlock

MakeConfig = Callable[..., Any]
LENGTH, MOST, WIDTH = 5, 8, 8  # of the row, and at most; hidden_size of make_config


def plainly(block: HSTUBlock, hidden: Tensor, heads: int) -> Tensor:
    """The block of one row as the paper writes it, pair by pair, [L, d]."""
    normed = layer_norm(hidden, (WIDTH,), eps=block.eps)
    gate, value, query, key = (silu(normed @ weight.T) for weight in block.input.weight.chunk(4))
    found, size = torch.zeros_like(hidden), WIDTH // heads
    for head in (slice(start, start + size) for start in range(0, WIDTH, size)):
        for t in range(len(hidden)):
            for s in range(t + 1):
                score = query[t, head] @ key[s, head] + block.distance_bias[t - s]
                found[t, head] += silu(score) / MOST * value[s, head]
    return hidden + block.output(layer_norm(found, (WIDTH,), eps=block.eps) * gate)


def block_of(make_config: MakeConfig, heads: int) -> HSTUBlock:
    """A block of random weights in float64, without dropout."""
    block = HSTUBlock(make_config("HSTU", n_heads=heads), MOST).eval().double()
    torch.manual_seed(0)
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter)
    return block


@pytest.mark.parametrize("heads", [1, 2])
@torch.no_grad()
def test_the_block_is_the_published_one(make_config: MakeConfig, heads: int) -> None:
    block = block_of(make_config, heads)
    hidden = torch.randn(1, LENGTH, WIDTH, dtype=torch.float64)
    torch.testing.assert_close(block(hidden)[0], plainly(block, hidden[0], heads), rtol=1e-10, atol=1e-10)


def test_heads_must_divide_the_width(make_config: MakeConfig) -> None:
    with pytest.raises(ValueError, match=r"hidden_size \[8\] must be a multiple of n_heads \[3\]"):
        block_of(make_config, heads=3)
