"""FMLP-Rec: the filter. What it shares with other models is tested in test_stacked_blocks.py."""

import math

import pytest
import torch
from torch import Tensor

from recbole_tslrec.data.dataset import Data
from recbole_tslrec.models.fmlprec import FMLPRec, SpectralFilter
from recbole_tslrec.training.recommender import build_model

LENGTH, WIDTH = 8, 4  # MAX_ITEM_LIST_LENGTH of make_config; channels of a filter


@pytest.fixture
def model(make_config) -> FMLPRec:
    """In evaluation mode, so that nothing is random, with embeddings large enough to matter."""
    config = make_config("FMLPRec", initializer_range=1.0)
    return build_model(config, Data(config).loaders[0]).eval()


@torch.no_grad()
def output(model: FMLPRec, *histories: list[int]) -> Tensor:
    """The vectors of histories, padded behind as RecBole does."""
    rows = torch.tensor([history + [0] * (LENGTH - len(history)) for history in histories])
    return model(rows, torch.tensor([len(history) for history in histories]))


def spectral_filter(length: int, weight: Tensor) -> SpectralFilter:
    """A filter with ``weight``, complex, for every frequency, or for all of them."""
    spectral = SpectralFilter(length, WIDTH)
    with torch.no_grad():
        spectral.complex_weight.copy_(torch.view_as_real(weight.reshape(-1, 1)))
    return spectral


def test_output_is_read_at_the_last_item(model):
    """Filters of zeros keep the positions apart, so only the last item remains."""
    for block in model.blocks:
        torch.nn.init.zeros_(block.filter.complex_weight)
    first, same_last, other_last = output(model, [3, 1, 4], [5, 2, 4], [3, 1, 6])
    torch.testing.assert_close(first, same_last)
    assert not torch.allclose(first, other_last, atol=1e-3)


@pytest.mark.parametrize("length", [7, 8])
def test_filter_of_ones_passes_everything(length):
    hidden = torch.randn(2, length, WIDTH)
    torch.testing.assert_close(spectral_filter(length, torch.ones(1, dtype=torch.complex64))(hidden), hidden)


@pytest.mark.parametrize("length", [7, 8])
def test_filter_of_a_phase_ramp_moves_positions_by_one(length):
    """exp(-2 pi i k / L) at frequency k delays by one position: real and imaginary parts are not swapped."""
    frequency = torch.arange(length // 2 + 1)
    ramp = spectral_filter(length, torch.exp(-2j * math.pi * frequency / length).to(torch.complex64))
    hidden = torch.randn(2, length, WIDTH)
    torch.testing.assert_close(ramp(hidden), hidden.roll(1, dims=1), rtol=1e-4, atol=1e-4)


def test_a_block_adds_the_filtered_row_and_passes_the_feed_forward_layer(model):
    """The filter moves by one; LayerNorm and feed-forward layer are those of the block."""
    block, every = model.blocks[0], torch.ones(2, LENGTH, dtype=torch.bool)
    frequency = torch.arange(LENGTH // 2 + 1)
    with torch.no_grad():
        ramp = torch.exp(-2j * math.pi * frequency / LENGTH).to(torch.complex64).unsqueeze(1)
        block.filter.complex_weight.copy_(torch.view_as_real(ramp.expand(-1, model.hidden_size)))
    hidden = torch.randn(2, LENGTH, model.hidden_size)
    expected = block.feed_forward(block.LayerNorm(hidden + hidden.roll(1, dims=1)))
    torch.testing.assert_close(block(hidden, every), expected, rtol=1e-4, atol=1e-4)
