"""An ID table that starts from vectors whose components one can see."""

import pytest
import torch
from torch import nn

from recbole_tslrec.augmentation.id_initialisation import start_from_components
from recbole_tslrec.augmentation.knowledge import Knowledge

# around (1, 1, 5): +-5 along (3, 4, 0) / 5, +-2 along (4, -3, 0) / 5
CROSS = torch.tensor([[4.0, 5.0, 5.0], [-2.0, -3.0, 5.0], [2.6, -0.2, 5.0], [-0.6, 2.2, 5.0]])
PRESENT = torch.tensor([False, True, True, False, True, True])
KNOWLEDGE = Knowledge(torch.zeros(6, 3).index_put((PRESENT,), CROSS), PRESENT)


def started(dimension: int) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    embedding = nn.Embedding(6, dimension, padding_idx=0)
    before = embedding.weight.detach().clone()
    start_from_components(embedding, KNOWLEDGE, seed=0)
    return before, embedding.weight.detach()


def test_rows_are_the_coordinates_at_the_scale_of_the_table() -> None:
    """5 and 5 on the first axis, 2 and 2 on the second: root mean square (29 / 4) ** .5."""
    before, after = started(2)
    scale = before[1:].std() / (29 / 4) ** 0.5
    expected = torch.tensor([[5.0, 0], [5, 0], [0, 2], [0, 2]]) * scale
    torch.testing.assert_close(after[PRESENT].abs(), expected, rtol=1e-5, atol=1e-6)
    assert after[1, 0] == -after[2, 0]


def test_items_without_a_vector_and_the_pad_keep_their_rows() -> None:
    before, after = started(2)
    assert torch.equal(after[~PRESENT], before[~PRESENT])


def test_columns_beyond_the_components_keep_what_was_drawn() -> None:
    before, after = started(5)
    assert torch.equal(after[:, 3:], before[:, 3:])
    assert not torch.equal(after[PRESENT, :2], before[PRESENT, :2])


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # scikit-learn's share of no variance
def test_equal_vectors_give_finite_rows() -> None:
    embedding = nn.Embedding(6, 2, padding_idx=0)
    start_from_components(embedding, Knowledge(torch.ones(6, 3), torch.arange(6) > 0), seed=0)
    assert embedding.weight.isfinite().all()
