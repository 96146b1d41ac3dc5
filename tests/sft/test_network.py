"""Eq. 1 to 3 against a plain computation in float64, one user at a time, with a tiny Llama."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from recbole_tslrec.llm.adapters import add_adapters
from recbole_tslrec.llm.layout import choose_layout
from recbole_tslrec.llm.loading import load_llm
from recbole_tslrec.llm.settings import LAYOUTS
from recbole_tslrec.reconstruction.loss import PreferenceObjective
from recbole_tslrec.reconstruction.settings import ReconstructionSettings
from recbole_tslrec.reconstruction.task import untuned_network
from recbole_tslrec.sft.examples import ITEM_SEQ, ITEM_SEQ_LEN
from recbole_tslrec.sft.network import PromptNetwork
from tests.decoders import plain_attention

HISTORIES = [[3, 1, 4, 1, 5], [2], [9, 2, 6]]
GROUP_COUNT = 4


@pytest.fixture(params=LAYOUTS)
def network(make_config: Callable[..., Any], exact_norm: None, request: pytest.FixtureRequest) -> PromptNetwork:
    """A float64 network whose LLM has adapters that do something (a fresh B is zero); in either layout."""
    settings = ReconstructionSettings.of(make_config(group_count=GROUP_COUNT, scratch_layers=2))
    network = untuned_network(settings, torch.randn(11, 6, generator=torch.Generator().manual_seed(0)))
    llm = load_llm(settings.engine.llm).requires_grad_(False)
    network.encoder.llm = add_adapters(llm, settings.engine.lora, settings.engine.llm.seed)
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


def plain_hidden(network: PromptNetwork, history: list[int]) -> torch.Tensor:
    """Eq. 1 as it is written, for one user: no batch, no pad, no mask, torch's own attention."""
    encoder = network.encoder
    words = encoder.llm.get_input_embeddings().weight
    items = network.item_embeddings[history] @ encoder.linear_proj.weight.T + encoder.linear_proj.bias
    prompt = torch.cat([words[encoder.instruction], items, words[encoder.response]])
    with plain_attention(encoder.llm):
        hidden: torch.Tensor = encoder.llm(inputs_embeds=prompt[None], use_cache=False).last_hidden_state[0, -1]
    return hidden


def loss_of(network: PromptNetwork, histories: list[list[int]], target: torch.Tensor) -> torch.Tensor:
    inputs = batch(histories)
    _, scores = network(inputs[ITEM_SEQ], inputs[ITEM_SEQ_LEN])
    return PreferenceObjective(GROUP_COUNT).errors(scores, target).mean()


def test_eq_1_for_every_user_of_a_batch(network: PromptNetwork) -> None:
    hidden, _ = network(batch(HISTORIES)[ITEM_SEQ], batch(HISTORIES)[ITEM_SEQ_LEN])
    expected = torch.stack([plain_hidden(network, history) for history in HISTORIES])
    torch.testing.assert_close(hidden, expected, rtol=0, atol=1e-12)


def test_scores_are_the_heads_of_the_hidden_states(network: PromptNetwork) -> None:
    hidden, scores = network(batch(HISTORIES)[ITEM_SEQ], batch(HISTORIES)[ITEM_SEQ_LEN])
    assert torch.equal(scores, network.head(hidden))
    assert torch.equal(scores.softmax(dim=1), network.head.distribution(hidden))


def test_loss_and_gradients_equal_the_plain_computation(network: PromptNetwork) -> None:
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


def test_only_adapters_projection_and_head_are_trained(network: PromptNetwork) -> None:
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


def test_a_user_does_not_depend_on_the_others_of_the_batch(network: PromptNetwork) -> None:
    together, _ = network(batch(HISTORIES)[ITEM_SEQ], batch(HISTORIES)[ITEM_SEQ_LEN])
    alone, _ = network(batch([HISTORIES[1]])[ITEM_SEQ], batch([HISTORIES[1]])[ITEM_SEQ_LEN])
    torch.testing.assert_close(together[1], alone[0], rtol=0, atol=1e-12)


def test_projected_items_start_as_loud_as_words(make_config: Callable[..., Any]) -> None:
    settings = ReconstructionSettings.of(make_config(scratch_hidden_size=64))
    for scale in (0.01, 100.0):
        rows = torch.randn(200, 6, generator=torch.Generator().manual_seed(0)) * scale
        rows[0] = 0
        encoder = untuned_network(settings, rows).encoder
        loudness = encoder.linear_proj(rows[1:]).std() / encoder.token_embedding.weight.std()
        assert 0.8 < loudness < 1.25
