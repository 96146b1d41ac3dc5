"""WEARec: the Haar transform by hand, the block as it is described, its last position, and what it refuses."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import gelu, layer_norm

from recbole_tslrec.data.dataset import Data
from recbole_tslrec.models.wearec import HaarEnhancement, WEARecBlock
from recbole_tslrec.training.recommender import build_model

MakeConfig = Callable[..., Any]
WIDTH = 8  # hidden_size of make_config


def test_details_are_weighed() -> None:
    """Of 5, 1 the mean is 3 and the detail 2, of 2, 4 they are 3 and -1; the details are doubled and halved."""
    haar = HaarEnhancement(4, 1)
    haar.detail_weight.data = torch.tensor([[2.0], [0.5]])
    row = torch.tensor([5.0, 1.0, 2.0, 4.0]).view(1, 4, 1)
    assert haar(row).flatten().tolist() == [7.0, -1.0, 2.5, 3.5]


def test_an_odd_row_has_zeros_in_front() -> None:
    """0, 6 have the mean 3 and the detail -3, which is doubled; 2, 4 keep theirs."""
    haar = HaarEnhancement(3, 1)
    haar.detail_weight.data = torch.tensor([[2.0], [1.0]])
    assert haar(torch.tensor([6.0, 2.0, 4.0]).view(1, 3, 1)).flatten().tolist() == [9.0, 2.0, 4.0]


def block_of(make_config: MakeConfig, length: int, **settings: Any) -> WEARecBlock:
    """A block of random weights in float64, without dropout."""
    block = WEARecBlock(make_config("WEARec", **settings), length).eval().double()
    torch.manual_seed(0)
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter)
    return block


def norm(values: Tensor, module: torch.nn.LayerNorm) -> Tensor:
    return layer_norm(values, (WIDTH,), module.weight, module.bias, module.eps)


def plainly(block: WEARecBlock, hidden: Tensor, alpha: float, heads: int) -> Tensor:
    """The block of one row of items as it is described, head by head and frequency by frequency, [L, d]."""
    length, context = len(hidden), hidden.mean(dim=0)
    time = torch.arange(length, dtype=torch.float64)
    first, _, second, _ = block.filter.scale_of_row
    factor = block.filter.scale * (1 + second(gelu(first(context))).view(heads, -1))
    first, _, second, _ = block.filter.shift_of_row
    summand = block.filter.shift + second(gelu(first(context))).view(heads, -1)
    filtered = torch.zeros_like(hidden)
    for h in range(heads):
        head = slice(h * WIDTH // heads, (h + 1) * WIDTH // heads)
        for k in range(length):
            of_pair = min(k, length - k)  # of a real signal, the frequencies k and L - k belong together
            wave = torch.exp(2j * torch.pi * k * time / length) / length**0.5
            coefficient = wave.conj() @ hidden[:, head].cdouble() * factor[h, of_pair] + summand[h, of_pair]
            filtered[:, head] += (wave.unsqueeze(1) * coefficient).real

    enhanced, row = torch.zeros_like(hidden), hidden
    offset = length % 2
    for t in range(length):
        pair = (t + offset) // 2
        x, y = (row[s] if s >= 0 else torch.zeros(WIDTH) for s in (2 * pair - offset, 2 * pair - offset + 1))
        smooth, detail = (x + y) / 2**0.5, (x - y) / 2**0.5 * block.haar.detail_weight[pair]
        enhanced[t] = (smooth + detail if (t + offset) % 2 == 0 else smooth - detail) / 2**0.5

    mixed = norm(hidden + alpha * filtered + (1 - alpha) * enhanced, block.LayerNorm)
    layer = block.feed_forward
    return norm(mixed + layer.dense_2(layer.intermediate_act_fn(layer.dense_1(mixed))), layer.LayerNorm)


@pytest.mark.parametrize("length", [1, 2, 7, 8])
@pytest.mark.parametrize(("alpha", "heads"), [(0.3, 1), (0.3, 2), (1.0, 4), (0.0, 2)])
@torch.no_grad()
def test_the_block_is_as_described(make_config: MakeConfig, length: int, alpha: float, heads: int) -> None:
    block = block_of(make_config, length, alpha=alpha, n_heads=heads)
    hidden = torch.randn(1, length, WIDTH, dtype=torch.float64)
    every = torch.ones(1, length, dtype=torch.bool)
    expected = plainly(block, hidden[0], alpha, heads)
    torch.testing.assert_close(block(hidden, every)[0], expected, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(block.last(hidden, every)[0], expected[-1], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"alpha": -0.1}, r"alpha \[-0.1\] must lie"),
        ({"n_heads": 3}, r"hidden_size \[8\] must be a multiple of n_heads \[3\]"),
    ],
)
def test_wrong_settings_are_refused(make_config: MakeConfig, settings: dict[str, Any], message: str) -> None:
    config = make_config("WEARec", **settings)
    with pytest.raises(ValueError, match=message):
        build_model(config, Data(config).loaders[0])
