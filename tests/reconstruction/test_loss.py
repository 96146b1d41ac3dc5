"""Eq. 2 and Eq. 3 by hand, and our options beside Eq. 3."""

import math

import numpy as np
import pytest
import torch

from recbole_tslrec.reconstruction.loss import (
    PreferenceHead,
    PreferenceObjective,
    favourite_agrees,
    kl_divergence,
    reconstruction_error,
)


def hidden_states(users: int = 3, width: int = 6) -> torch.Tensor:
    return torch.randn(users, width, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_eq_2_is_a_softmax_of_the_head() -> None:
    hidden, head = hidden_states(), PreferenceHead(6, 4).double()
    predicted = head.distribution(hidden)
    assert torch.equal(head(hidden).softmax(dim=1), predicted)
    scores = hidden.numpy() @ head.weight.detach().numpy().T + head.bias.detach().numpy()
    expected = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(predicted.detach().numpy(), expected, rtol=0, atol=1e-12)


def test_eq_2_is_in_full_precision_under_autocast() -> None:
    hidden, head = hidden_states().float(), PreferenceHead(6, 4)
    with torch.autocast("cpu", torch.bfloat16):
        scores = head(hidden)
    assert torch.equal(scores, head(hidden))


def test_eq_3_by_hand() -> None:
    predicted = torch.tensor([[0.5, 0.5], [0.9, 0.1]])
    target = torch.tensor([[1.0, 0.0], [0.9, 0.1]])
    error = reconstruction_error(predicted, target)
    assert error.tolist() == pytest.approx([0.25 + 0.25, 0])
    assert error.mean().item() == pytest.approx(0.25)


# our options beside Eq. 3


def test_kl_divergence_by_hand() -> None:
    """Target (3/4, 1/4), prediction (1/2, 1/2): 3/4 ln(3/2) + 1/4 ln(1/2). A one-hot target: -ln of its share."""
    logits = torch.tensor([[0.0, 0.0], [0.0, math.log(4.0)], [0.0, math.log(3.0)]])
    target = torch.tensor([[0.75, 0.25], [0.0, 1.0], [0.25, 0.75]])
    expected = [0.75 * math.log(1.5) + 0.25 * math.log(0.5), -math.log(0.8), 0.0]
    assert kl_divergence(logits, target).tolist() == pytest.approx(expected, abs=1e-6)


def test_kl_divergence_stays_finite_where_a_softmax_is_zero() -> None:
    """Its gradient is the prediction less the target, however wrong the prediction."""
    logits = torch.tensor([[200.0, -200.0]], requires_grad=True)
    loss = kl_divergence(logits, torch.tensor([[0.0, 1.0]])).sum()
    loss.backward()
    assert loss.item() == pytest.approx(400)
    assert logits.grad is not None
    assert logits.grad.tolist() == [pytest.approx([1.0, -1.0])]


@pytest.mark.parametrize(("loss", "expected"), [("mse", 0.5), ("kl", math.log(2))])
def test_the_errors_of_the_objective(loss: str, expected: float) -> None:
    """Of two groups (1/2, 1/2) is predicted for (1, 0)."""
    found = PreferenceObjective(2, loss).errors(torch.zeros(1, 2), torch.tensor([[1.0, 0.0]]))
    assert found.tolist() == pytest.approx([expected], abs=1e-6)


def test_any_of_several_favourites_is_right() -> None:
    logits = torch.tensor([[0.0, 0.0, 3.0], [0.0, 3.0, 0.0]])
    target = torch.tensor([[0.5, 0.0, 0.5], [1.0, 0.0, 0.0]])
    assert favourite_agrees(logits, target).tolist() == [1.0, 0.0]
    assert PreferenceObjective(3).metrics(logits, target)["top1"].tolist() == [1.0, 0.0]


def test_the_head_has_a_score_for_each_group() -> None:
    assert PreferenceObjective(4).head(6)(hidden_states().float()).shape == (3, 4)
