"""Eq. 1 to 3 against a plain computation in float64, one user at a time, with a tiny Llama."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from recbole_tslrec.llm.layout import LAYOUTS, choose_layout
from recbole_tslrec.llm.loading import add_adapters, load_llm
from recbole_tslrec.reconstruction.network import (
    ITEM_SEQ,
    ITEM_SEQ_LEN,
    ReconstructionNetwork,
    build_network,
    configured_prompt,
    favourite_agrees,
    kl_divergence,
    reconstruction_error,
    task_errors,
)
from tests.decoders import plain_attention

HISTORIES = [[3, 1, 4, 1, 5], [2], [9, 2, 6]]
GROUP_COUNT = 4


@pytest.fixture(params=LAYOUTS)
def network(make_config: Callable[..., Any], exact_norm: None, request: pytest.FixtureRequest) -> ReconstructionNetwork:
    """A float64 network whose LLM has adapters that do something (a fresh B is zero); in either layout."""
    config = make_config(group_count=GROUP_COUNT, scratch_layers=2)
    network = build_network(config, torch.randn(11, 6, generator=torch.Generator().manual_seed(0)))
    network.encoder.llm = add_adapters(load_llm(config).requires_grad_(False), config)
    generator = torch.Generator().manual_seed(1)
    for name, weight in network.named_parameters():
        if "lora_B" in name:
            weight.data.copy_(torch.randn(weight.shape, generator=generator) * 0.1)
    assert choose_layout(network.double().encoder, request.param) == request.param
    return network


def batch(histories: list[list[int]]) -> dict[str, torch.Tensor]:
    rows = torch.nn.utils.rnn.pad_sequence([torch.tensor(history) for history in histories], batch_first=True)
    lengths = torch.tensor([len(history) for history in histories])
    return {ITEM_SEQ: rows, ITEM_SEQ_LEN: lengths}


def plain_hidden(network: ReconstructionNetwork, history: list[int]) -> torch.Tensor:
    """Eq. 1 as it is written, for one user: no batch, no pad, no mask, torch's own attention."""
    encoder = network.encoder
    words = encoder.llm.get_input_embeddings().weight
    items = network.item_embeddings[history] @ encoder.linear_proj.weight.T + encoder.linear_proj.bias
    prompt = torch.cat([words[encoder.instruction], items, words[encoder.response]])
    with plain_attention(encoder.llm):
        hidden: torch.Tensor = encoder.llm(inputs_embeds=prompt[None], use_cache=False).last_hidden_state[0, -1]
    return hidden


def loss_of(network: ReconstructionNetwork, histories: list[list[int]], target: torch.Tensor) -> torch.Tensor:
    inputs = batch(histories)
    _, logits = network(inputs[ITEM_SEQ], inputs[ITEM_SEQ_LEN])
    return task_errors(logits, target, network.group_counts, "mse").mean()


def test_eq_1_for_every_user_of_a_batch(network: ReconstructionNetwork) -> None:
    hidden, _ = network(batch(HISTORIES)[ITEM_SEQ], batch(HISTORIES)[ITEM_SEQ_LEN])
    expected = torch.stack([plain_hidden(network, history) for history in HISTORIES])
    torch.testing.assert_close(hidden, expected, rtol=0, atol=1e-12)


def test_eq_2_is_a_softmax_of_the_head(network: ReconstructionNetwork) -> None:
    inputs = batch(HISTORIES)
    hidden, logits = network(inputs[ITEM_SEQ], inputs[ITEM_SEQ_LEN])
    predicted = network.predict_distribution(hidden)
    assert torch.equal(logits.softmax(dim=1), predicted)
    scores = hidden.detach().numpy() @ network.head.weight.detach().numpy().T + network.head.bias.detach().numpy()
    expected = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(predicted.detach().numpy(), expected, rtol=0, atol=1e-12)


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


@pytest.mark.parametrize(("loss", "expected"), [("mse", (0.5 + 0.0) / 2), ("kl", (math.log(2) + 0.0) / 2)])
def test_the_error_of_several_groupings_is_their_mean(loss: str, expected: float) -> None:
    """Of two groups (1/2, 1/2) is predicted for (1, 0); of three the target itself."""
    logits = torch.tensor([[0.0, 0.0, 0.0, 0.0, math.log(2.0)]])
    target = torch.tensor([[1.0, 0.0, 0.25, 0.25, 0.5]])
    assert task_errors(logits, target, [2, 3], loss).tolist() == pytest.approx([expected], abs=1e-6)


def test_favourites_of_several_groupings() -> None:
    """User 1: both right, of the three either favourite; user 2: the second only."""
    logits = torch.tensor([[2.0, 1.0, 0.0, 0.0, 3.0], [2.0, 1.0, 0.0, 3.0, 0.0]])
    target = torch.tensor([[1.0, 0.0, 0.5, 0.0, 0.5], [0.0, 1.0, 0.0, 1.0, 0.0]])
    assert favourite_agrees(logits, target, [2, 3]).tolist() == [1.0, 0.5]


def test_each_grouping_has_a_distribution_of_its_own(make_config: Callable[..., Any]) -> None:
    network = build_network(make_config(group_count=[4, 7]), torch.randn(11, 6))
    inputs = batch(HISTORIES)
    hidden, logits = network(inputs[ITEM_SEQ], inputs[ITEM_SEQ_LEN])
    assert logits.shape == (3, 11)
    for block in network.predict_distribution(hidden).split([4, 7], dim=1):
        torch.testing.assert_close(block.sum(dim=1), torch.ones(3))


def test_loss_and_gradients_equal_the_plain_computation(network: ReconstructionNetwork) -> None:
    target = torch.tensor([[0.4, 0.2, 0.4, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1 / 3, 2 / 3]], dtype=torch.float64)
    loss = loss_of(network, HISTORIES, target)
    gradients = torch.autograd.grad(loss, list(network.trainable().values()))

    per_user = []
    for history, wanted in zip(HISTORIES, target, strict=True):
        scores = network.head.weight @ plain_hidden(network, history) + network.head.bias
        predicted = scores.exp() / scores.exp().sum()
        per_user.append(((wanted - predicted) ** 2).sum())
    expected_loss = sum(per_user) / len(per_user)
    expected = torch.autograd.grad(expected_loss, list(network.trainable().values()))

    assert loss.item() == pytest.approx(expected_loss.item(), abs=1e-12)
    for name, found, wanted in zip(network.trainable(), gradients, expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-10, msg=name)
        assert wanted.abs().max() > 0, name


def test_only_adapters_projection_and_head_are_trained(network: ReconstructionNetwork) -> None:
    trained = set(network.trainable())
    assert {"encoder.linear_proj.weight", "encoder.linear_proj.bias", "head.weight", "head.bias"} < trained
    assert all("lora_" in name for name in trained if name.startswith("encoder.llm"))

    before = {name: value.clone() for name, value in network.state_dict().items()}
    items = network.item_embeddings.clone()
    optimizer = torch.optim.SGD(network.parameters(), lr=1.0)
    loss_of(network, HISTORIES, torch.full((3, GROUP_COUNT), 0.25, dtype=torch.float64)).backward()
    optimizer.step()
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == trained
    assert torch.equal(network.item_embeddings, items)


def test_a_user_does_not_depend_on_the_others_of_the_batch(network: ReconstructionNetwork) -> None:
    together, _ = network(batch(HISTORIES)[ITEM_SEQ], batch(HISTORIES)[ITEM_SEQ_LEN])
    alone, _ = network(batch([HISTORIES[1]])[ITEM_SEQ], batch([HISTORIES[1]])[ITEM_SEQ_LEN])
    torch.testing.assert_close(together[1], alone[0], rtol=0, atol=1e-12)


def test_projected_items_start_as_loud_as_words(make_config: Callable[..., Any]) -> None:
    for scale in (0.01, 100.0):
        rows = torch.randn(200, 6, generator=torch.Generator().manual_seed(0)) * scale
        rows[0] = 0
        encoder = build_network(make_config(scratch_hidden_size=64), rows).encoder
        loudness = encoder.linear_proj(rows[1:]).std() / encoder.token_embedding.weight.std()
        assert 0.8 < loudness < 1.25


@pytest.mark.parametrize("group_count", [7, [7, 12]])
def test_the_prompt_is_that_of_the_keys(make_config: Callable[..., Any], group_count: Any) -> None:
    keys = {"prompt_instruction": "{group_count}", "prompt_response": "R", "group_count": group_count}
    short = configured_prompt(make_config(**keys))
    assert len(short.instruction) == 2  # BOS, "7"
    assert len(short.response) == 1
