"""``average_weights``: averages of the weights are validated, kept and evaluated."""

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from recbole_tslrec.data.dataset import Data
from recbole_tslrec.settings import ConfigError
from recbole_tslrec.training.recommender import MODEL, evaluate_recommender, load_trainer, train_recommender
from recbole_tslrec.training.weight_average import WeightAverage


@pytest.fixture
def line():
    """One weight, 0, that a step moves by 1, and its average."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    average = WeightAverage(model, optimizer)

    def step():
        model.weight.grad = -torch.ones(1, 1)
        optimizer.step()

    return model.weight, average, step


def test_recent_steps_count_most(line):
    """Of the steps 1, 2, 3 the last has 9/11, the second 9/10 of the rest, the initial weight nothing."""
    weight, average, step = line
    for expected in (1.0, 0.1 * 1 + 0.9 * 2, 2 / 11 * 1.9 + 9 / 11 * 3):
        step()
        assert average.average[0].item() == pytest.approx(expected)
    assert weight.item() == 3


def test_the_mean_age_is_a_tenth_of_the_training(line):
    """Where weights are the numbers of their steps, the average is the mean step."""
    _, average, step = line
    for _ in range(2000):
        step()
    assert average.average[0].item() == pytest.approx(0.9 * 2000, rel=1e-3)


def test_the_model_has_its_own_weights_again(line):
    weight, average, step = line
    step(), step()
    with average.in_place():
        assert weight.item() == pytest.approx(1.9)
    assert weight.item() == 2
    step()
    assert average.average[0].item() == pytest.approx(2 / 11 * 1.9 + 9 / 11 * 3)


@pytest.fixture
def trained(make_config, tmp_path):
    """``trained(average_weights)``: report, weights, and configuration, loaders and folder of a training."""

    def trained(average_weights):
        folder = tmp_path / str(average_weights)
        folder.mkdir()
        config = make_config(epochs=2, train_batch_size=16, average_weights=average_weights)
        loaders = Data(config).loaders
        return train_recommender(config, *loaders[:2], folder), load_file(folder / MODEL), (config, loaders, folder)

    return trained


def test_what_was_validated_is_what_is_kept(trained):
    report, _, (config, loaders, folder) = trained(True)
    assert evaluate_recommender(load_trainer(config, loaders[0], folder), loaders[1]) == report["valid"]


def test_training_itself_is_the_same(trained, caplog):
    """The weights differ, the losses on the way do not."""
    caplog.set_level("INFO")

    def losses_and_weights(average_weights):
        caplog.clear()
        _, weights, _ = trained(average_weights)
        lines = [record.getMessage() for record in caplog.records if "train loss" in record.getMessage()]
        return [line.split("train loss")[1] for line in lines], weights

    (losses, averaged), (expected, last) = losses_and_weights(True), losses_and_weights(False)
    assert losses == expected
    assert len(losses) == 2
    assert all(not torch.equal(averaged[name], last[name]) for name in last if name.endswith("weight"))


@pytest.mark.parametrize("value", [2, "sometimes"])
def test_another_value_is_refused(make_config, value):
    with pytest.raises(ConfigError, match=r"average_weights must be True or False, not \[\w+\]$"):
        make_config(average_weights=value)
