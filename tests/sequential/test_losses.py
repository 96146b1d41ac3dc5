"""Losses for large catalogues against torch's own and against sums by hand."""

import math

import pytest
import torch
from torch.nn.functional import cross_entropy

from recbole_tslrec.sequential.losses import GeneralisedBCE, SampledSoftmax, full_cross_entropy, sampled_loss

KIB = 1 / 1024  # of a MiB


@pytest.fixture
def problem():
    """Vectors [7, 4] and a table [11, 4] in float64, and targets."""
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(7, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    table = torch.randn(11, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    return query, table, torch.tensor([1, 5, 10, 5, 2, 9, 3])


@pytest.mark.parametrize("memory", [0.0, 2 * 44 / 2**20, 1.0])  # a row at a time, two (11 scores of 4 bytes), all
def test_chunked_cross_entropy_and_its_gradients_are_torchs(problem, memory):
    query, table, target = problem
    loss = 3 * full_cross_entropy(query, table, target, memory)
    expected = 3 * cross_entropy(query @ table.T, target)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    gradients = torch.autograd.grad(loss, (query, table))
    for gradient, correct in zip(gradients, torch.autograd.grad(expected, (query, table)), strict=True):
        torch.testing.assert_close(gradient, correct, rtol=1e-5, atol=1e-7)


def test_a_scaled_loss_keeps_gradients_that_float16_has_no_numbers_for():
    """What GradScaler does: the loss is multiplied before its gradients are taken."""
    torch.manual_seed(0)
    query, table = torch.randn(4096, 4).mul(0.02).requires_grad_(), torch.randn(11, 4).mul(0.02)
    target = torch.randint(1, 11, (4096,))
    (expected,) = torch.autograd.grad(65536 * cross_entropy(query @ table.T, target), query)
    with torch.autocast("cpu", dtype=torch.float16):
        loss = full_cross_entropy(query, table, target, KIB)
    (found,) = torch.autograd.grad(65536 * loss, query)
    assert float((found - expected).norm() / expected.norm()) < 1e-3


def test_a_share_that_float16_has_no_number_for_is_its_least():
    """exp(-20) is below 2^-24: the loss shown is 24 ln 2, and not that of a number which only float32 has."""
    query, table = torch.tensor([[1.0]]), torch.tensor([[0.0], [20.0], [0.0]])
    with torch.autocast("cpu", dtype=torch.float16):
        loss = full_cross_entropy(query, table, torch.tensor([2]), KIB)
    assert loss.item() == pytest.approx(24 * math.log(2), rel=1e-3)


def test_large_scores_do_not_overflow():
    query, table = torch.tensor([[1e4]]), torch.tensor([[0.0], [1.0], [0.5]])
    assert full_cross_entropy(query, table, torch.tensor([1]), KIB).item() == 0.0


def test_sampled_softmax_takes_the_log_of_the_expected_draws_off():
    count = torch.tensor([0, 3, 1, 0])  # weights 4, 2, 1 of 7
    loss = SampledSoftmax(count, 2)
    score, scores = torch.tensor([1.0]), torch.tensor([[0.5, 2.0]])
    items, target = torch.tensor([1, 3]), torch.tensor([2])
    own = 1.0  # the target is always there
    others = [0.5 - math.log(2 * 4 / 7), 2.0 - math.log(2 * 1 / 7)]
    expected = math.log(sum(math.exp(x) for x in (own, *others))) - own
    same = target.unsqueeze(1) == items
    assert loss.of_scores(score, scores, target, items, same).item() == pytest.approx(expected)


def test_a_draw_of_the_target_itself_does_not_count():
    loss = SampledSoftmax(torch.tensor([0, 1, 1, 1]), 2)
    query, rows = torch.ones(1, 1), torch.tensor([[5.0], [9.0]])
    own, target, items = torch.tensor([[9.0]]), torch.tensor([2]), torch.tensor([1, 2])
    # 9 against 5 alone, whose item is expected 2/3 times in two draws from three
    by_hand = math.log(1 + math.exp(5 - 9) * 3 / 2)
    assert loss(query, target, own, items, rows).item() == pytest.approx(by_hand, rel=1e-4)


def test_sampled_softmax_draws_by_frequency():
    torch.manual_seed(0)
    drawn = SampledSoftmax(torch.tensor([0, 8, 0, 0]), 3).draw(torch.device("cpu"))
    assert ((drawn >= 1) & (drawn <= 3)).all()
    many = torch.cat([SampledSoftmax(torch.tensor([0, 8, 0, 0]), 3).draw(torch.device("cpu")) for _ in range(2000)])
    share = torch.bincount(many, minlength=4) / len(many)
    torch.testing.assert_close(share, torch.tensor([0.0, 9 / 11, 1 / 11, 1 / 11]), atol=0.03, rtol=0)


def test_sampled_softmax_estimates_the_full_one():
    """exp(loss) is 1 / probability of the target; its mean over draws is that of the full softmax."""
    torch.manual_seed(0)
    count = torch.tensor([0, *range(1, 10)])
    query, table, target = torch.randn(1, 4) / 2, torch.randn(10, 4), torch.tensor([3])
    full = cross_entropy((query @ table[1:].T), target - 1).exp().item()
    loss = SampledSoftmax(count, 9)
    drawn = [loss.draw(torch.device("cpu")) for _ in range(4000)]
    values = [loss(query, target, table[target], items, table[items]).exp().item() for items in drawn]
    assert sum(values) / len(values) == pytest.approx(full, rel=0.03)


@pytest.mark.parametrize(("calibration", "power"), [(0.0, 1.0), (1.0, 0.25), (0.5, 0.625)])
def test_gbce_tempers_the_positive(calibration, power):
    """Two of the eight other items: a sampling rate of 1/4."""
    loss = GeneralisedBCE(torch.zeros(10), 2, calibration)
    assert loss.power == pytest.approx(power)
    score, scores = torch.tensor([0.3]), torch.tensor([[0.1, -0.2]])
    same = torch.zeros(1, 2, dtype=torch.bool)
    sigmoid = lambda x: 1 / (1 + math.exp(-x))  # noqa: E731
    by_hand = power * math.log(sigmoid(0.3)) + math.log(1 - sigmoid(0.1)) + math.log(1 - sigmoid(-0.2))
    found = loss.of_scores(score, scores, torch.tensor([1]), torch.tensor([2, 3]), same)
    assert found.item() == pytest.approx(-by_hand / 3, rel=1e-5)


def test_gbce_draws_every_item_and_no_pad():
    torch.manual_seed(0)
    drawn = torch.cat([GeneralisedBCE(torch.zeros(6), 4, 0.5).draw(torch.device("cpu")) for _ in range(50)])
    assert set(drawn.tolist()) == {1, 2, 3, 4, 5}


@pytest.mark.parametrize("negatives", [0, 10])
def test_as_many_draws_as_there_are_items_at_most(negatives):
    with pytest.raises(ValueError, match=r"loss_negatives \[\d+\] must lie between 1 and the 9 items"):
        sampled_loss("gBCE", torch.zeros(10), negatives, 0.5)


def test_calibration_lies_between_0_and_1():
    with pytest.raises(ValueError, match=r"loss_calibration \[2\] must lie between 0 and 1"):
        sampled_loss("gBCE", torch.zeros(10), 3, 2)
