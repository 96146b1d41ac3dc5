"""The standardisation of the knowledge, its projection, and what stands for items without a vector."""

import copy
import math

import pytest
import torch

from recbole_tslrec.augmentation.knowledge import Knowledge, reduce_to_components
from recbole_tslrec.augmentation.projection import KnowledgeProjection

# Four corners of a square with sides of 2 around (1, 1), behind a pad row: centred, each has the norm sqrt(2).
SQUARE = torch.tensor([[0.0, 0.0], [0.0, 0.0], [2.0, 0.0], [0.0, 2.0], [2.0, 2.0]])
STANDARD = torch.tensor([[0.0, 0.0], [-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0], [1.0, 1.0]]) / math.sqrt(2)


def knowledge_of(rows, absent=()):
    """Knowledge with a zero row for the pad and for the absent items."""
    present = torch.arange(len(rows)) > 0
    present[list(absent)] = False
    return Knowledge(rows * present.unsqueeze(1), present)


def standardised(rows, absent=()):
    return KnowledgeProjection(knowledge_of(rows, absent), 2).knowledge


# Standardisation


def test_standardise_a_square():
    torch.testing.assert_close(standardised(SQUARE), STANDARD)


def test_standardise_looks_at_present_items_only():
    """Two items without a vector, between the corners."""
    order = [0, 1, 0, 2, 3, 0, 4]
    torch.testing.assert_close(standardised(SQUARE[order], absent=[2, 5]), STANDARD[order])


@pytest.mark.parametrize(("scale", "shift"), [(1000.0, 0.0), (0.01, 0.0), (1e-30, 0.0), (1.0, 500.0), (0.5, -64.0)])
def test_standardise_ignores_scale_and_shift(scale, shift):
    torch.testing.assert_close(standardised(SQUARE * scale + shift), STANDARD)


def test_standardised_rows_are_centred():
    rows = standardised(torch.randn(50, 7) * torch.arange(1, 8) + torch.arange(7))
    torch.testing.assert_close(rows[1:].mean(dim=0), torch.zeros(7))


def test_standardised_rows_have_a_root_mean_square_norm_of_one():
    rows = standardised(torch.randn(50, 7) * torch.arange(1, 8))
    assert rows[1:].square().sum(dim=1).mean().sqrt().item() == pytest.approx(1)


def test_blocks_do_not_show(monkeypatch):
    rows = torch.randn(50, 7)
    whole = standardised(rows)
    monkeypatch.setattr("recbole_tslrec.augmentation.standardisation._BLOCK", 8)
    torch.testing.assert_close(standardised(rows), whole)


def test_standardise_makes_the_pad_row_zero():
    assert not standardised(torch.randn(5, 3) + 100)[0].any()


@pytest.mark.parametrize("value", [0.0, 0.1, -12345.678])
def test_standardise_makes_equal_rows_zero(value):
    """Nothing tells the items apart, and nothing is divided by zero."""
    assert torch.equal(standardised(torch.full((8, 3), value)), torch.zeros(8, 3))


@pytest.mark.parametrize("absent", [[], [2, 4]])
def test_rows_that_may_be_overwritten_are_not_held_twice(absent):
    knowledge = knowledge_of(torch.randn(6, 3) + 5, absent)
    expected, given = standardised(knowledge.rows.clone(), absent), knowledge.rows
    found = knowledge.standardised(in_place=True)
    assert found.rows is given
    assert torch.equal(given, expected)


def test_tables_share_the_rows_that_are_standardised_already():
    knowledge = knowledge_of(torch.randn(6, 3) + 5).standardised()
    assert KnowledgeProjection(knowledge, 2).knowledge is KnowledgeProjection(knowledge, 4).knowledge is knowledge.rows


def test_new_items_are_standardised_as_the_old_ones():
    rows = torch.randn(6, 3) + 5
    source = KnowledgeProjection(knowledge_of(rows), 2)
    assert torch.equal(source.standardised(rows[1:]), source.knowledge[1:])


def test_new_items_go_through_the_components():
    rows = torch.randn(9, 5)
    source = KnowledgeProjection(reduce_to_components(knowledge_of(rows, absent=[3]), 2, seed=0), 4)
    assert source.knowledge.shape == (9, 2)
    old = [1, 2, 4, 5, 6, 7, 8]
    torch.testing.assert_close(source.standardised(rows[old]), source.knowledge[old])


# Items without a vector


def test_complete_knowledge_has_no_default():
    source = KnowledgeProjection(knowledge_of(torch.randn(5, 3)), 2)
    assert [name for name, _ in source.named_parameters()] == ["linear.weight", "linear.bias"]


def test_items_without_a_vector_share_the_default():
    source = KnowledgeProjection(knowledge_of(torch.randn(6, 3), absent=[2, 4]), 2)
    with torch.no_grad():
        source.default.copy_(torch.tensor([7.0, -8.0]))
        table = source()
    assert torch.equal(table[[2, 4]], torch.tensor([[7.0, -8.0], [7.0, -8.0]]))
    torch.testing.assert_close(table[[1, 3, 5]], source.linear(source.knowledge[[1, 3, 5]]))


def test_default_starts_at_the_scale_of_the_projected_knowledge():
    source = KnowledgeProjection(knowledge_of(torch.randn(500, 64), absent=[2]), 4096)
    source.reset_scale(0.3)
    assert source.default.std().item() == pytest.approx(0.3, rel=0.05)
    assert source()[3:].std().item() == pytest.approx(0.3, rel=0.05)


def test_gradients_of_the_default_come_from_absent_items_only():
    source = KnowledgeProjection(knowledge_of(torch.randn(6, 3), absent=[2, 4]), 2)
    source.rows(torch.tensor([1, 3, 5])).sum().backward()
    assert not source.default.grad.any()
    source.rows(torch.tensor([2, 4, 4])).sum().backward()
    assert torch.equal(source.default.grad, torch.tensor([3.0, 3.0]))


@pytest.mark.parametrize("absent", [[], [2, 4]])
def test_rows_are_those_of_the_table(absent):
    source = KnowledgeProjection(knowledge_of(torch.randn(6, 3), absent), 2)
    ids = torch.tensor([4, 1, 2, 1])
    torch.testing.assert_close(source.rows(ids), source()[ids], rtol=0, atol=1e-6)


# Mixed precision


def in_bfloat16(compute):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return compute()


def test_knowledge_is_cast_once():
    source = KnowledgeProjection(knowledge_of(torch.randn(6, 3)), 2)
    first, second = in_bfloat16(source._frozen), in_bfloat16(source._frozen)
    assert first.dtype == torch.bfloat16
    assert first is second


def test_cast_follows_loaded_weights():
    source, other = (KnowledgeProjection(knowledge_of(torch.randn(6, 3)), 2) for _ in range(2))
    assert not torch.equal(in_bfloat16(source), in_bfloat16(other))
    source.load_state_dict(other.state_dict())
    assert torch.equal(in_bfloat16(source), in_bfloat16(other))


def test_cast_is_not_saved_and_does_not_reach_full_precision():
    source = KnowledgeProjection(knowledge_of(torch.randn(6, 3)), 2)
    before, saved = source(), set(source.state_dict())
    in_bfloat16(source)
    assert set(source.state_dict()) == saved
    assert torch.equal(source(), before)


# Weights of another run


@pytest.mark.parametrize("copied", [False, True])
def test_weights_for_vectors_of_another_width_are_refused(copied):
    saved = KnowledgeProjection(knowledge_of(torch.randn(6, 5)), 2).state_dict()
    source = KnowledgeProjection(knowledge_of(torch.randn(6, 3)), 2)
    source = copy.deepcopy(source) if copied else source
    with pytest.raises(ValueError, match="with item vectors of width 5, knowledge_path now gives width 3; give"):
        source.load_state_dict(saved)


def test_width_is_that_of_the_vectors_not_of_their_components():
    five, three = (reduce_to_components(knowledge_of(torch.randn(6, width)), 2, 0) for width in (5, 3))
    source = KnowledgeProjection(three, 2)
    with pytest.raises(ValueError, match="width 5, knowledge_path now gives width 3"):
        source.load_state_dict(KnowledgeProjection(five, 2).state_dict())
