"""FMLP-Rec: pads that say nothing, the filter, and the loss."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from recbole_tslrec.data.dataset import Data
from recbole_tslrec.models.fmlprec import FilterBlock, FilterLayer, FMLPRec, pads_in_front
from recbole_tslrec.settings import derive
from recbole_tslrec.training.recommender import build_model

LENGTH, WIDTH = 8, 4  # MAX_ITEM_LIST_LENGTH of make_config; channels of a filter


@pytest.fixture
def model(make_config) -> FMLPRec:
    """In evaluation mode, so that nothing is random, with filters and embeddings large enough to matter."""
    config = make_config("FMLPRec", initializer_range=1.0)
    model = build_model(config, Data(config).loaders[0]).cpu().eval()
    for block in model.blocks:
        torch.nn.init.normal_(block.filter.complex_weight)
    return model


@torch.no_grad()
def output(model: FMLPRec, *histories: list[int]) -> Tensor:
    """The vectors of histories, padded behind as RecBole does."""
    rows = torch.tensor([history + [0] * (LENGTH - len(history)) for history in histories])
    return model(rows, torch.tensor([len(history) for history in histories]))


def filter_layer(length: int, weight: Tensor) -> FilterLayer:
    """A filter without dropout, ``weight`` complex, for every frequency, or for all of them."""
    layer = FilterLayer(length, WIDTH, dropout_prob=0.0, layer_norm_eps=1e-12)
    with torch.no_grad():
        layer.complex_weight.copy_(torch.view_as_real(weight.reshape(-1, 1)))
    return layer


def normed(hidden: Tensor) -> Tensor:
    return functional.layer_norm(hidden, (WIDTH,), eps=1e-12)


def test_pads_move_in_front():
    rows = torch.tensor([[7, 8, 9, 0, 0], [7, 0, 0, 0, 0], [5, 6, 7, 8, 9]])
    expected = torch.tensor([[0, 0, 7, 8, 9], [0, 0, 0, 0, 7], [5, 6, 7, 8, 9]])
    assert torch.equal(pads_in_front(rows, torch.tensor([3, 1, 5])), expected)


def test_pad_embedding_has_no_influence(model):
    before = output(model, [3, 1, 4], [5])
    with torch.no_grad():
        model.item_embedding.weight[0] = torch.linspace(-50, 100, 8)
    assert torch.equal(output(model, [3, 1, 4], [5]), before)


def test_positions_of_pads_have_no_influence(model):
    before = output(model, [3, 1, 4], [5, 2])
    with torch.no_grad():
        model.position_embedding.weight[:5] = torch.linspace(-50, 100, 8)
    assert torch.equal(output(model, [3, 1, 4], [5, 2]), before)


def test_positions_of_items_have_influence(model):
    """Three items stand at the last three of the eight positions."""
    before = output(model, [3, 1, 4])
    with torch.no_grad():
        model.position_embedding.weight[5] = torch.linspace(-50, 100, 8)
    assert not torch.allclose(output(model, [3, 1, 4]), before, atol=1e-3)


def test_order_matters(model):
    """The last item is the same: an earlier swap has to reach the output through the filter."""
    first, second = output(model, [3, 1, 4, 2], [1, 3, 4, 2])
    assert not torch.allclose(first, second, atol=1e-3)


def test_output_is_read_at_the_last_item(model):
    """Filters of zeros keep the positions apart, so only the last item remains."""
    for block in model.blocks:
        torch.nn.init.zeros_(block.filter.complex_weight)
    first, same_last, other_last = output(model, [3, 1, 4], [5, 2, 4], [3, 1, 6])
    torch.testing.assert_close(first, same_last)
    assert not torch.allclose(first, other_last, atol=1e-3)


def test_history_does_not_depend_on_its_batch(model):
    together = output(model, [3, 1, 4, 2], [5, 6])
    torch.testing.assert_close(together[1:], output(model, [5, 6]))


@pytest.mark.parametrize("length", [7, 8])
def test_filter_of_ones_passes_everything(length):
    hidden = torch.randn(2, length, WIDTH)
    layer = filter_layer(length, torch.ones(1, dtype=torch.complex64))
    torch.testing.assert_close(layer(hidden), normed(2 * hidden))


@pytest.mark.parametrize("length", [7, 8])
def test_filter_of_zeros_leaves_the_residual(length):
    hidden = torch.randn(2, length, WIDTH)
    layer = filter_layer(length, torch.zeros(1, dtype=torch.complex64))
    torch.testing.assert_close(layer(hidden), normed(hidden))


@pytest.mark.parametrize("length", [7, 8])
def test_filter_of_a_phase_ramp_moves_positions_by_one(length):
    """exp(-2 pi i k / L) at frequency k delays by one position: real and imaginary parts are not swapped."""
    frequency = torch.arange(length // 2 + 1)
    layer = filter_layer(length, torch.exp(-2j * math.pi * frequency / length).to(torch.complex64))
    hidden = torch.randn(2, length, WIDTH)
    torch.testing.assert_close(layer(hidden), normed(hidden + hidden.roll(1, dims=1)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("length", [7, 8])
def test_last_position_of_a_block_is_that_of_all(make_config, length):
    """Random weights: also the imaginary parts at frequency 0 and L / 2, which a real signal does not have."""
    block = FilterBlock(make_config("FMLPRec"), length).eval()
    torch.nn.init.normal_(block.filter.complex_weight)
    hidden = torch.randn(3, length, 8)
    torch.testing.assert_close(block.last(hidden), block(hidden)[:, -1])


def test_predict_gives_the_column_of_full_sort_predict(make_config):
    config = make_config("FMLPRec")
    train_data = Data(config).loaders[0]
    batch = next(iter(train_data)).to(config["device"])
    model = build_model(config, train_data).eval()
    column = model.full_sort_predict(batch).gather(1, batch["item_id"].unsqueeze(1)).squeeze(1)
    torch.testing.assert_close(model.predict(batch), column)


def test_unknown_loss_type_is_refused(make_config):
    config = make_config("FMLPRec")
    with pytest.raises(ValueError, match=r"loss_type \[hinge\] is not one of CE, BPR, sampled_softmax, gBCE"):
        build_model(derive(config, loss_type="hinge"), Data(config).loaders[0])


def test_no_blocks_are_refused(make_config):
    config = make_config("FMLPRec", n_layers=0)
    with pytest.raises(ValueError, match=r"n_layers \[0\] must be at least 1"):
        build_model(config, Data(config).loaders[0])


@pytest.mark.parametrize(("loss_type", "guess"), [("CE", math.log(31)), ("BPR", math.log(2))])
def test_first_loss_is_that_of_a_guess(make_config, loss_type, guess):
    """Near zero scores: one of 31 rows, or one of two items."""
    config = make_config("FMLPRec", loss_type=loss_type)
    train_data = Data(config).loaders[0]
    batch = next(iter(train_data)).to(config["device"])
    assert build_model(config, train_data).calculate_loss(batch).item() == pytest.approx(guess, rel=0.05)
