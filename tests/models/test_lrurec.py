"""LRURec: the parallel scan against the plain recurrence, the items' biases, and what it refuses."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from recbole_tslrec.data.dataset import Data
from recbole_tslrec.models.lrurec import LinearRecurrence, scan
from recbole_tslrec.settings import derive
from recbole_tslrec.training.recommender import build_model

MakeConfig = Callable[..., Any]


def one_by_one(real: Tensor, imaginary: Tensor, decay: tuple[Tensor, Tensor]) -> Tensor:
    """The recurrence as it is written, [B, L, D] of complex numbers."""
    inputs, factor = torch.complex(real, imaginary), torch.complex(*decay)
    state, states = torch.zeros_like(inputs[:, 0]), []
    for t in range(inputs.shape[1]):
        state = factor * state + inputs[:, t]
        states.append(state)
    return torch.stack(states, dim=1)


@pytest.mark.parametrize("length", [1, 2, 7, 16, 50, 201])
def test_the_scan_is_the_plain_recurrence_with_its_gradients(length: int) -> None:
    """In float64 to 1e-10, of states and of the gradients of inputs and lambda."""
    torch.manual_seed(0)
    leaves = [torch.randn(3, length, 4, dtype=torch.float64), torch.randn(3, length, 4, dtype=torch.float64)]
    leaves += [0.9 * torch.rand(4, dtype=torch.float64).cos(), 0.4 * torch.rand(4, dtype=torch.float64)]
    weight = torch.randn(3, length, 4, dtype=torch.complex128)
    found = []
    for compute in (lambda *given: torch.complex(*scan(*given)), one_by_one):
        own = [leaf.clone().requires_grad_() for leaf in leaves]
        states = compute(own[0], own[1], (own[2], own[3]))
        gradients = torch.autograd.grad((states * weight).real.sum(), own, materialize_grads=True)
        found.append([states.detach(), *gradients])
    for mine, plain in zip(*found, strict=True):
        torch.testing.assert_close(mine, plain, rtol=1e-10, atol=1e-10)


def test_states_fade_and_never_grow() -> None:
    """At the start |lambda| is between .8 and .99, on all of the ring; whatever is learned keeps it below 1."""
    torch.manual_seed(0)
    recurrence = LinearRecurrence(64)
    size = torch.complex(*recurrence.decay).abs()
    assert size.min() >= 0.8
    assert size.max() <= 0.99
    assert size.max() - size.min() > 0.17
    torch.nn.init.normal_(recurrence.nu_log, std=3)
    assert torch.complex(*recurrence.decay).abs().max() <= 1


def built(make_config: MakeConfig, **settings: Any) -> tuple[Any, Any]:
    """The model in evaluation mode and a batch of its training rows."""
    config = make_config("LRURec", **settings)
    train_data = Data(config).loaders[0]
    return build_model(config, train_data).eval(), next(iter(train_data))


def test_an_items_bias_is_added_to_its_score(make_config: MakeConfig) -> None:
    model, batch = built(make_config, train_mode="prefix")
    before = model.full_sort_predict(batch)
    with torch.no_grad():
        model.item_bias[3] = 2.0
    added = model.full_sort_predict(batch) - before
    assert torch.allclose(added[:, 3], torch.full((len(added),), 2.0), atol=1e-5)
    assert added[:, :3].abs().max() < 1e-6
    assert torch.allclose(
        model.predict(batch), model.full_sort_predict(batch).gather(1, batch["item_id"][:, None])[:, 0]
    )


def test_inner_units_of_the_feed_forward_layer_are_dropped(make_config: MakeConfig) -> None:
    """In training only: in evaluation the layer is RecBole's."""
    block = built(make_config)[0].blocks[0]
    layer = block.feed_forward
    hidden = torch.randn(2, 3, layer.dense_1.in_features)
    torch.testing.assert_close(block(hidden), layer(block.LayerNorm(hidden + block.recurrence(hidden))))
    seen: list[Tensor] = []
    layer.dense_2.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    block.train()(hidden)
    assert 0 < (seen[0] == 0).float().mean() < 1


@pytest.mark.parametrize("mode", ["prefix", "all_positions"])
def test_the_loss_is_the_cross_entropy_of_scores_with_biases(make_config: MakeConfig, mode: str) -> None:
    """In chunks of few MiB as well."""
    model, batch = built(make_config, train_mode=mode, loss_memory=0.001)
    torch.nn.init.normal_(model.item_bias)
    target = batch["item_id"]
    counts = target > 0
    query = model._queries(batch)[counts]
    expected = cross_entropy(query @ model.output_table.T, target[counts])
    torch.testing.assert_close(model.calculate_loss(batch), expected)


@pytest.mark.parametrize(
    ("key", "value", "message"), [("n_layers", 0, "n_layers .0. must"), ("loss_type", "X", "loss")]
)
def test_wrong_settings_are_refused(make_config: MakeConfig, key: str, value: object, message: str) -> None:
    config = make_config("LRURec")
    with pytest.raises(ValueError, match=message):
        build_model(derive(config, **{key: value}), Data(config).loaders[0])
