"""Principal components of vectors on lines whose axes one can see."""

import math

import pytest
import torch

from recbole_tslrec.augmentation.knowledge import Knowledge, reduce_to_components
from recbole_tslrec.augmentation.principal_components import PrincipalComponents

# around (1, 1, 5): +-5 along (3, 4, 0) / 5, +-2 along (4, -3, 0) / 5, nothing along the third axis
CROSS = torch.tensor([[4.0, 5.0, 5.0], [-2.0, -3.0, 5.0], [2.6, -0.2, 5.0], [-0.6, 2.2, 5.0]])


def components(dimension, vectors=CROSS):
    return PrincipalComponents.of(vectors, dimension, seed=0)


def up_to_sign(rows):
    """The direction of an axis is arbitrary."""
    return rows * rows.sum(dim=0).sign()


def test_axes_are_ordered_by_variance():
    axes = up_to_sign(components(2).axes)
    torch.testing.assert_close(axes, torch.tensor([[0.6, 0.8], [0.8, -0.6], [0.0, 0.0]]))


def test_vectors_become_their_coordinates():
    coordinates = components(2)(CROSS)
    torch.testing.assert_close(coordinates.abs(), torch.tensor([[5.0, 0], [5, 0], [0, 2], [0, 2]]))
    assert coordinates[0, 0] == -coordinates[1, 0]


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # scikit-learn's share of no variance
def test_equal_vectors_become_zero():
    assert not components(2, vectors=torch.full((5, 4), 0.1))(torch.full((5, 4), 0.1)).any()


def test_large_common_part_does_not_hide_the_rest():
    """300 vectors of 20: scikit-learn goes by the covariance; in float32, 1e4 squared leaves nothing of 1."""
    small = torch.randn(300, 20, generator=torch.Generator().manual_seed(0)) * torch.tensor([10.0] + [1.0] * 19)
    axis = components(1, vectors=small + 1e4).axes
    torch.testing.assert_close(up_to_sign(axis), up_to_sign(components(1, vectors=small).axes), rtol=0, atol=1e-3)


def test_seed_decides_large_problems():
    vectors = torch.randn(600, 40)
    assert torch.equal(components(3, vectors=vectors).axes, components(3, vectors=vectors).axes)


# Knowledge

PRESENT = torch.tensor([False, True, True, False, True, True])
KNOWLEDGE = Knowledge(torch.zeros(6, 3).index_put((PRESENT,), CROSS), PRESENT)


def test_components_are_those_of_the_items_that_have_a_vector():
    reduced = reduce_to_components(KNOWLEDGE, 2, seed=0)
    torch.testing.assert_close(reduced.rows[PRESENT], components(2)(CROSS))
    assert not reduced.rows[~PRESENT].any()
    assert torch.equal(reduced.present, PRESENT)


@pytest.mark.parametrize(("width", "kept"), [(3, 3), (8, 4)])
def test_dimension_is_at_most_that_of_the_vectors_and_their_number(width, kept, caplog):
    rows = torch.randn(5, width)
    knowledge = Knowledge(rows, torch.arange(5) > 0)
    with caplog.at_level("INFO"):
        assert reduce_to_components(knowledge, 64, seed=0).rows.shape == (5, kept)
    assert f"fusion_pca_dimension 64 is more than 4 vectors of width {width} have; {kept} components" in caplog.text


def test_all_components_keep_every_distance():
    rows = torch.randn(6, 4)
    reduced = reduce_to_components(Knowledge(rows, torch.arange(6) > 0), 4, seed=0).rows
    torch.testing.assert_close(torch.pdist(reduced[1:]), torch.pdist(rows[1:]))
    assert math.isclose(reduced[1:].mean().item(), 0, abs_tol=1e-6)
