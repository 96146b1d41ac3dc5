"""The faster SASRec is RecBole's, to rounding, dropout included."""

import pytest
import torch
from recbole.model import sequential_recommender
from recbole.utils import init_seed

from recbole_tslrec.data.dataset import Data
from recbole_tslrec.models.sasrec import SASRec, dropout_at


@pytest.fixture
def pair(make_config):
    """RecBole's SASRec and ours with equal weights, and a batch of prefixes of different lengths."""
    config = make_config("SASRec", n_layers=2, train_mode="prefix")
    train_data = Data(config).loaders[0]
    models = []
    for kind in (sequential_recommender.SASRec, SASRec):
        init_seed(0, True)
        models.append(kind(config, train_data._dataset))
    return models, next(iter(train_data))


@pytest.mark.parametrize("training", [True, False])
def test_vectors_and_gradients_are_recboles(pair, training):
    (theirs, ours), batch = pair
    outputs = []
    for model in (theirs, ours):
        model.train(training)
        torch.manual_seed(1)  # dropout draws the same numbers
        model.calculate_loss(batch).backward()
        torch.manual_seed(1)
        outputs.append(model.forward(batch["item_id_list"], batch["item_length"]))
    torch.testing.assert_close(outputs[1], outputs[0], rtol=1e-5, atol=1e-6)
    for (name, parameter), other in zip(theirs.named_parameters(), ours.parameters(), strict=True):
        torch.testing.assert_close(other.grad, parameter.grad, rtol=1e-4, atol=1e-7, msg=name)


def test_random_numbers_are_left_as_recbole_leaves_them(pair):
    (theirs, ours), batch = pair
    states = []
    for model in (theirs, ours):
        torch.manual_seed(1)
        model.train().calculate_loss(batch)
        states.append(torch.get_rng_state())
    assert torch.equal(*states)


def test_dropout_at_a_row_is_that_row_of_torchs_dropout():
    dropout = torch.nn.Dropout(0.4)
    whole = torch.rand(3, 2, 5, 7)
    position = torch.tensor([4, 0, 2])
    torch.manual_seed(0)
    expected = dropout(whole)[torch.arange(3), :, position]
    torch.manual_seed(0)
    torch.testing.assert_close(dropout_at(whole[torch.arange(3), :, position], dropout, (5, 7), position), expected)
