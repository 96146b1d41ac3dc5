"""The faster Caser is RecBole's, to rounding, dropout included."""

import pytest
import torch
from recbole.model import sequential_recommender
from recbole.utils import init_seed

from recbole_tslrec.data.dataset import Data
from recbole_tslrec.models import caser
from recbole_tslrec.models.caser import Caser

LENGTH = 8  # MAX_ITEM_LIST_LENGTH of make_config


@pytest.fixture
def pair(make_config):
    """RecBole's Caser and ours with equal weights, large enough that ReLU cuts some, and a batch."""
    config = make_config("Caser")
    train_data = Data(config).loaders[0]
    models = []
    for kind in (sequential_recommender.Caser, Caser):
        init_seed(0, True)
        model = kind(config, train_data._dataset)
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.5)  # the pad's embedding too: RecBole's is not zero either
        models.append(model)
    return models, next(iter(train_data))


def every_length() -> torch.Tensor:
    """A row of each length: none, 1, ... LENGTH items."""
    rows = torch.arange(1, LENGTH + 1).expand(LENGTH + 1, -1)
    return rows.tril(diagonal=-1)


@pytest.mark.parametrize("training", [True, False])
def test_losses_and_gradients_are_recboles(pair, training):
    models, batch = pair
    losses = []
    for model in models:
        model.train(training)
        torch.manual_seed(1)  # dropout draws the same numbers
        losses.append(model.calculate_loss(batch))
        losses[-1].backward()
    torch.testing.assert_close(losses[1], losses[0])
    for (name, parameter), other in zip(models[0].named_parameters(), models[1].parameters(), strict=True):
        torch.testing.assert_close(other.grad, parameter.grad, rtol=1e-4, atol=1e-6, msg=name)


def test_random_numbers_are_left_as_recbole_leaves_them(pair):
    models, batch = pair
    states = []
    for model in models:
        torch.manual_seed(1)
        model.train().calculate_loss(batch)
        states.append(torch.get_rng_state())
    assert torch.equal(*states)


@torch.no_grad()
@pytest.mark.parametrize("at_once", [1, 64, 2**22], ids=["a window at once", "several portions", "one portion"])
def test_vectors_of_rows_of_every_length_are_recboles(pair, at_once, monkeypatch):
    monkeypatch.setattr(caser, "_WINDOWS_AT_ONCE", at_once)
    users = torch.arange(1, LENGTH + 2)
    theirs, ours = (model.eval()(users, every_length()) for model in pair[0])
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_autocast_computes_in_its_own_type(pair):
    """bfloat16 has eight bits: near the full precision, and not equal to it."""
    (_, model), batch = pair
    model.eval()
    exact = model.horizontal(batch["item_id_list"])
    with torch.autocast("cpu", torch.bfloat16):
        rough = model.horizontal(batch["item_id_list"])
    rough.sum().backward()  # in the types of the weights
    assert (rough - exact).abs().max() > 0
    assert ((rough - exact).abs().max() / exact.abs().max()).item() < 0.05
