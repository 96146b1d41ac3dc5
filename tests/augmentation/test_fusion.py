"""The fusions against hand computations."""

import math

import torch
from torch import nn

from recbole_tslrec.augmentation.fusion import FUSIONS, GateFusion, SumFusion

IDS = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
KNOWLEDGE = torch.tensor([[0.0, 4.0], [1.0, 8.0]])
LOG3 = math.log(3)  # sigmoid(log 3) = 3/4, sigmoid(0) = 1/2


def set_linear(linear: nn.Linear, weight: list[list[float]], bias: list[float]) -> None:
    with torch.no_grad():
        linear.weight.copy_(torch.tensor(weight))
        linear.bias.copy_(torch.tensor(bias))


def test_gate_weighs_every_element():
    fusion = GateFusion(2)
    # the first element's gate reads the first ID element, the second one's the first knowledge element
    set_linear(fusion.gate, [[LOG3, 0, 0, 0], [0, 0, LOG3, 0]], [0, 0])
    # g = [[3/4, 1/2], [1/2, 3/4]]
    expected = [[3 / 4 * 1 + 1 / 4 * 0, 1 / 2 * 0 + 1 / 2 * 4], [1 / 2 * 0 + 1 / 2 * 1, 3 / 4 * 2 + 1 / 4 * 8]]
    torch.testing.assert_close(fusion(IDS, KNOWLEDGE), torch.tensor(expected))


def test_gate_has_a_bias_for_every_element():
    fusion = GateFusion(2)
    set_linear(fusion.gate, [[0, 0, 0, 0], [0, 0, 0, 0]], [0, LOG3])
    # g = [[1/2, 3/4], [1/2, 3/4]]
    expected = [[1 / 2, 1 / 4 * 4], [1 / 2 * 1, 3 / 4 * 2 + 1 / 4 * 8]]
    torch.testing.assert_close(fusion(IDS, KNOWLEDGE), torch.tensor(expected))


def test_sum_adds():
    assert torch.equal(SumFusion(2)(IDS, KNOWLEDGE), torch.tensor([[1.0, 4.0], [1.0, 10.0]]))


def test_names_of_the_fusions():
    named = [("gate", GateFusion), ("sum", SumFusion)]
    assert list(FUSIONS.items()) == named
