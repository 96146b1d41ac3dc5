"""The networks of blocks under SASRec's embeddings: pads, order, the last position, and the loss."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from recbole_tslrec.data.dataset import Data
from recbole_tslrec.models.backbones import BACKBONES
from recbole_tslrec.models.stacked_blocks import StackedBlocks, WholeRowBlocks, pads_in_front
from recbole_tslrec.settings import derive
from recbole_tslrec.training.recommender import build_model

LENGTH, WIDTH = 8, 8  # MAX_ITEM_LIST_LENGTH and hidden_size of make_config
MakeConfig = Callable[..., Any]


def made_of(kind: type) -> list[str]:
    """The names of the backbones of a kind."""
    return [name for name, backbone in BACKBONES.items() if backbone.base and issubclass(backbone.base, kind)]


every_network = pytest.mark.parametrize("model", made_of(StackedBlocks), indirect=True)
whole_row_network = pytest.mark.parametrize("model", made_of(WholeRowBlocks), indirect=True)
every_name = pytest.mark.parametrize("name", made_of(StackedBlocks))


@pytest.fixture
def model(request: pytest.FixtureRequest, make_config: MakeConfig) -> StackedBlocks:
    """In evaluation mode, so that nothing is random, with weights so large that each part matters and none decides."""
    config = make_config(request.param, initializer_range=1.0)
    model: StackedBlocks = build_model(config, Data(config).loaders[0]).eval()
    torch.manual_seed(0)
    for parameter in model.blocks.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return model


@torch.no_grad()
def output(model: StackedBlocks, *histories: list[int]) -> Tensor:
    """The vectors of histories, padded behind as RecBole does."""
    rows = torch.tensor([history + [0] * (LENGTH - len(history)) for history in histories])
    vectors: Tensor = model(rows, torch.tensor([len(history) for history in histories]))
    return vectors


def test_pads_move_in_front() -> None:
    rows = torch.tensor([[7, 8, 9, 0, 0], [7, 0, 0, 0, 0], [5, 6, 7, 8, 9]])
    expected = torch.tensor([[0, 0, 7, 8, 9], [0, 0, 0, 0, 7], [5, 6, 7, 8, 9]])
    assert torch.equal(pads_in_front(rows, torch.tensor([3, 1, 5])), expected)


@every_network
def test_pad_embedding_has_no_influence(model: StackedBlocks) -> None:
    before = output(model, [3, 1, 4], [5])
    with torch.no_grad():
        model.item_embedding.weight[0] = torch.linspace(-50, 100, WIDTH)
    assert torch.equal(output(model, [3, 1, 4], [5]), before)


@every_network
def test_positions_of_pads_are_read_where_the_whole_row_is(model: StackedBlocks) -> None:
    before = output(model, [3, 1, 4])
    whole_row = isinstance(model, WholeRowBlocks)
    pads = slice(5) if whole_row else slice(3, None)  # before the three items, or behind
    with torch.no_grad():
        model.position_embedding.weight[pads] = torch.linspace(-50, 100, WIDTH)
    assert torch.allclose(output(model, [3, 1, 4]), before, atol=1e-3) is not whole_row


@every_network
def test_positions_of_items_have_influence(model: StackedBlocks) -> None:
    before = output(model, [3, 1, 4])
    first = 5 if isinstance(model, WholeRowBlocks) else 0
    with torch.no_grad():
        model.position_embedding.weight[first] = torch.linspace(-50, 100, WIDTH)
    assert not torch.allclose(output(model, [3, 1, 4]), before, atol=1e-3)


@every_network
def test_order_matters(model: StackedBlocks) -> None:
    """The last item is the same: an earlier swap has to reach the output through the blocks."""
    first, second = output(model, [3, 1, 4, 2], [1, 3, 4, 2])
    assert not torch.allclose(first, second, atol=1e-3)


@every_network
def test_history_does_not_depend_on_its_batch(model: StackedBlocks) -> None:
    together = output(model, [3, 1, 4, 2], [5, 6])
    torch.testing.assert_close(together[1:], output(model, [5, 6]))


@whole_row_network
@torch.no_grad()
def test_last_position_of_a_block_is_that_of_all(model: WholeRowBlocks) -> None:
    is_item = torch.arange(LENGTH) >= torch.tensor([[0], [3], [LENGTH - 1]])  # pads in front
    hidden = torch.randn(3, LENGTH, WIDTH)
    for block in model.blocks:
        torch.testing.assert_close(block.last(hidden, is_item), block(hidden, is_item)[:, -1], rtol=1e-4, atol=1e-4)


@every_name
def test_unknown_loss_type_is_refused(make_config: MakeConfig, name: str) -> None:
    config = make_config(name)
    with pytest.raises(ValueError, match=r"loss_type \[hinge\] is not one of CE, BPR, sampled_softmax, gBCE"):
        build_model(derive(config, loss_type="hinge"), Data(config).loaders[0])


@every_name
def test_no_blocks_are_refused(make_config: MakeConfig, name: str) -> None:
    config = make_config(name)
    with pytest.raises(ValueError, match=r"n_layers \[0\] must be at least 1"):
        build_model(derive(config, n_layers=0), Data(config).loaders[0])


@every_name
@pytest.mark.parametrize(("loss_type", "guess"), [("CE", math.log(31)), ("BPR", math.log(2))])
def test_first_loss_is_that_of_a_guess(make_config: MakeConfig, name: str, loss_type: str, guess: float) -> None:
    """Near zero scores: one of 31 rows, or one of two items."""
    config = make_config(name, loss_type=loss_type, train_mode="prefix")
    train_data = Data(config).loaders[0]
    batch = next(iter(train_data))
    assert build_model(config, train_data).calculate_loss(batch).item() == pytest.approx(guess, rel=0.05)
