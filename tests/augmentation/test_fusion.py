"""The fusions against hand computations, and the standardisation of the knowledge."""

import math

import pytest
import torch
from torch import nn

from recbole_tslrec.augmentation.fusion import FUSIONS, ConcatFusion, GateFusion, ScalarGateFusion, SumFusion
from recbole_tslrec.augmentation.item_table import KnowledgeProjection, fuse_item_embedding, standardise

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


def test_scalar_gate_weighs_every_item():
    fusion = ScalarGateFusion(2)
    set_linear(fusion.gate, [[LOG3, 0, 0, 0]], [0])
    # g = [3/4, 1/2]
    expected = [[3 / 4 * 1, 1 / 4 * 4], [1 / 2 * 1, 1 / 2 * 2 + 1 / 2 * 8]]
    torch.testing.assert_close(fusion(IDS, KNOWLEDGE), torch.tensor(expected))


def test_sum_adds():
    assert torch.equal(SumFusion(2)(IDS, KNOWLEDGE), torch.tensor([[1.0, 4.0], [1.0, 10.0]]))


def test_concat_projects_ids_before_knowledge():
    fusion = ConcatFusion(2)
    set_linear(fusion.projection, [[1, 0, 2, 0], [0, 1, 0, 3]], [0, 10])
    # x = [e1 + 2 p1, e2 + 3 p2 + 10]
    torch.testing.assert_close(fusion(IDS, KNOWLEDGE), torch.tensor([[1.0, 22.0], [2.0, 36.0]]))


def test_names_of_the_fusions():
    named = [("gate", GateFusion), ("scalar_gate", ScalarGateFusion), ("sum", SumFusion), ("concat", ConcatFusion)]
    assert list(FUSIONS.items()) == named


def test_unknown_fusion_names_the_known_ones():
    source = KnowledgeProjection(torch.randn(4, 3), 2)
    with pytest.raises(ValueError, match=r"\[gated\] is not one of gate, scalar_gate, sum, concat"):
        fuse_item_embedding(nn.Embedding(4, 2), source, "gated")


# Four corners of a square with sides of 2 around (1, 1), behind a pad row: centred, each has the norm sqrt(2).
SQUARE = torch.tensor([[9.0, 9.0], [0.0, 0.0], [2.0, 0.0], [0.0, 2.0], [2.0, 2.0]])
STANDARD = torch.tensor([[0.0, 0.0], [-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0], [1.0, 1.0]]) / math.sqrt(2)


def test_standardise_a_square():
    torch.testing.assert_close(standardise(SQUARE), STANDARD)


@pytest.mark.parametrize(("scale", "shift"), [(1000.0, 0.0), (0.01, 0.0), (1e-30, 0.0), (1.0, 500.0), (0.5, -64.0)])
def test_standardise_ignores_scale_and_shift(scale, shift):
    torch.testing.assert_close(standardise(SQUARE * scale + shift), STANDARD)


def test_standardised_rows_are_centred():
    rows = standardise(torch.randn(50, 7) * torch.arange(1, 8) + torch.arange(7))
    torch.testing.assert_close(rows[1:].mean(dim=0), torch.zeros(7))


def test_standardised_rows_have_a_root_mean_square_norm_of_one():
    rows = standardise(torch.randn(50, 7) * torch.arange(1, 8))
    assert rows[1:].square().sum(dim=1).mean().sqrt().item() == pytest.approx(1)


def test_standardise_makes_the_pad_row_zero():
    assert not standardise(torch.randn(5, 3) + 100)[0].any()


@pytest.mark.parametrize("value", [0.0, 0.1, -12345.678])
def test_standardise_makes_equal_rows_zero(value):
    """Nothing tells the items apart, and nothing is divided by zero."""
    assert torch.equal(standardise(torch.full((8, 3), value)), torch.zeros(8, 3))
