"""BSARec: the low frequencies of a row, the block as it is published, and what it refuses."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import layer_norm

from recbole_tslrec.data.dataset import Data
from recbole_tslrec.models.bsarec import BSARecBlock, low_pass_projection
from recbole_tslrec.training.recommender import build_model

MakeConfig = Callable[..., Any]
LENGTH, WIDTH = 8, 8  # MAX_ITEM_LIST_LENGTH and hidden_size of make_config


@pytest.mark.parametrize("length", [7, 8])
@pytest.mark.parametrize(("period", "passes"), [(None, True), (1, True), (2, True), (3, False)])
def test_three_frequencies_pass(length: int, period: int | None, passes: bool) -> None:
    """A constant, and waves that fit once, twice and three times into the row."""
    wave = torch.ones(length, dtype=torch.float64)
    if period:
        wave = torch.cos(2 * torch.pi * period * torch.arange(length, dtype=torch.float64) / length + 0.3)
    torch.testing.assert_close(low_pass_projection(length, 3) @ wave, wave if passes else torch.zeros_like(wave))


def test_all_frequencies_are_the_row_itself() -> None:
    torch.testing.assert_close(low_pass_projection(6, 4), torch.eye(6, dtype=torch.float64))


def block_of(make_config: MakeConfig, **settings: Any) -> BSARecBlock:
    """A block of random weights in float64, without dropout."""
    block = BSARecBlock(make_config("BSARec", n_heads=2, **settings), LENGTH).eval().double()
    torch.manual_seed(0)
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter)
    block.low_pass = low_pass_projection(LENGTH, settings["c"] // 2 + 1)
    return block


def norm(values: Tensor, module: torch.nn.LayerNorm) -> Tensor:
    return layer_norm(values, (WIDTH,), module.weight, module.bias, module.eps)


def plainly(block: BSARecBlock, hidden: Tensor, alpha: float, low_frequencies: int) -> Tensor:
    """The block of one row of items as the paper writes it, frequency by frequency and position by position, [L, d]."""
    time = torch.arange(LENGTH, dtype=torch.float64)
    low = torch.zeros_like(hidden)
    for k in range(-low_frequencies + 1, low_frequencies):  # of a real signal, -k beside k
        wave = torch.exp(2j * torch.pi * k * time / LENGTH)
        low += (wave.unsqueeze(1) * (wave.conj() @ hidden.cdouble()) / LENGTH).real
    rescaled = low + block.beta**2 * (hidden - low)
    rescaled = norm(hidden + rescaled, block.LayerNorm)

    attention = block.attention
    query, key, value = attention.query(hidden), attention.key(hidden), attention.value(hidden)
    attended = torch.zeros_like(hidden)
    for head in (slice(0, WIDTH // 2), slice(WIDTH // 2, WIDTH)):
        for t in range(LENGTH):
            scores = key[: t + 1, head] @ query[t, head] / (WIDTH / 2) ** 0.5
            attended[t, head] = scores.softmax(0) @ value[: t + 1, head]
    attended = norm(hidden + attention.dense(attended), attention.LayerNorm)

    mixed = alpha * rescaled + (1 - alpha) * attended
    layer = block.feed_forward
    return norm(mixed + layer.dense_2(layer.intermediate_act_fn(layer.dense_1(mixed))), layer.LayerNorm)


@pytest.mark.parametrize(("alpha", "c", "low_frequencies"), [(0.7, 5, 3), (0.2, 1, 1), (1.0, 3, 2), (0.0, 8, 5)])
@torch.no_grad()
def test_the_block_is_the_published_one(make_config: MakeConfig, alpha: float, c: int, low_frequencies: int) -> None:
    block = block_of(make_config, alpha=alpha, c=c)
    hidden = torch.randn(1, LENGTH, WIDTH, dtype=torch.float64)
    every = torch.ones(1, LENGTH, dtype=torch.bool)
    expected = plainly(block, hidden[0], alpha, low_frequencies)
    torch.testing.assert_close(block(hidden, every)[0], expected, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(block.last(hidden, every)[0], expected[-1], rtol=1e-10, atol=1e-10)


@torch.no_grad()
def test_items_attend_to_items_and_pads_to_pads(make_config: MakeConfig) -> None:
    """Attention alone, with three pads in front."""
    block = block_of(make_config, alpha=0.0, c=5)
    is_item = torch.arange(LENGTH).unsqueeze(0) >= 3
    hidden = torch.randn(1, LENGTH, WIDTH, dtype=torch.float64)
    before = block(hidden, is_item)[0]
    for changed, untouched in ((slice(3), slice(3, None)), (slice(3, None), slice(3))):
        other = hidden.clone()
        other[:, changed] += 1
        torch.testing.assert_close(block(other, is_item)[0, untouched], before[untouched])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"alpha": 1.2}, r"alpha \[1.2\] must lie"),
        ({"c": 0}, r"c \[0\] must be at least 1"),
        ({"n_heads": 3}, r"hidden_size \[8\] must be a multiple of n_heads \[3\]"),
    ],
)
def test_wrong_settings_are_refused(make_config: MakeConfig, settings: dict[str, Any], message: str) -> None:
    config = make_config("BSARec", **settings)
    with pytest.raises(ValueError, match=message):
        build_model(config, Data(config).loaders[0])
