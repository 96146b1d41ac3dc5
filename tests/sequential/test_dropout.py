"""Dropout from 16 bits an element: what it keeps, how it scales, and which models have it."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from recbole_tslrec.data.dataset import Data
from recbole_tslrec.sequential.dropout import FewBitsDropout, draw_few_bits
from recbole_tslrec.training.recommender import build_model

ONES = torch.ones(250, 4, 401)  # no multiple of four in a row: elements are served in the order of memory


@pytest.mark.parametrize("p", [0.1, 0.2, 0.5, 0.9])
def test_it_keeps_a_share_and_scales_it_to_the_same_sum(p: float) -> None:
    torch.manual_seed(0)
    found = FewBitsDropout(p)(ONES)
    kept = found[found > 0]
    assert len(kept) / found.numel() == pytest.approx(1 - p, abs=4e-3)  # 5 deviations and more
    assert torch.allclose(kept, torch.tensor(1 / (1 - p)), rtol=1e-4)
    assert found.mean() == pytest.approx(1, abs=0.03)


def test_each_of_the_four_numbers_in_64_bits_is_drawn_alike() -> None:
    torch.manual_seed(0)
    kept = FewBitsDropout(0.3)(torch.ones(100_000, 4)) > 0
    assert kept.float().mean(dim=0).tolist() == pytest.approx([0.7] * 4, abs=0.01)


def test_gradients_are_dropped_with_the_elements() -> None:
    values = ONES.clone().requires_grad_()
    found = FewBitsDropout(0.5)(values)
    found.sum().backward()
    assert values.grad is not None
    assert torch.equal(values.grad, found.detach())  # each element is 1: its scale is its gradient


def test_the_seed_decides() -> None:
    torch.manual_seed(3)
    first = FewBitsDropout(0.5)(ONES)
    assert not torch.equal(FewBitsDropout(0.5)(ONES), first)
    torch.manual_seed(3)
    assert torch.equal(FewBitsDropout(0.5)(ONES), first)


@pytest.mark.parametrize("dropout", [FewBitsDropout(0.0), FewBitsDropout(0.5).eval()])
def test_nothing_is_dropped_at_zero_or_in_evaluation(dropout: nn.Module) -> None:
    assert torch.equal(dropout(ONES), ONES)


def test_modules_of_modules_are_exchanged() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Dropout(0.25)))
    draw_few_bits(model)
    (dropout,) = (module for module in model.modules() if isinstance(module, nn.Dropout))
    assert (type(dropout), dropout.p) == (FewBitsDropout, 0.25)


@pytest.mark.parametrize(("mode", "expected"), [("all_positions", FewBitsDropout), ("prefix", nn.Dropout)])
def test_random_numbers_are_recboles_where_recbole_trains_so(
    make_config: Callable[..., Any], mode: str, expected: type
) -> None:
    config = make_config("SASRec", train_mode=mode)
    model = build_model(config, Data(config).loaders[0])
    assert {type(module) for module in model.modules() if isinstance(module, nn.Dropout)} == {expected}
