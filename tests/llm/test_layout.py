"""How a micro-batch lies in memory, by hand; and which layout a decoder gets."""

import logging
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model

from recbole_tslrec.compute.log_once import log_once
from recbole_tslrec.llm import attention
from recbole_tslrec.llm.adapters import base_model
from recbole_tslrec.llm.attention import PrefixRow
from recbole_tslrec.llm.encoder import PromptEncoder
from recbole_tslrec.llm.identity import LLMError
from recbole_tslrec.llm.layout import choose_layout, lay_segments, pad_prompts, weave_texts
from recbole_tslrec.llm.settings import LAYOUTS, PADDED, PREFIX_ROW
from tests.decoders import ITEM_SIZE, SERVED, encoder_of, tiny_decoder

# name -> settings; what follows says why it cannot take a prefix row
UNSERVED: Mapping[str, tuple[str, Mapping[str, Any], str]] = {
    "ALiBi, no attention interface": ("Bloom", {"n_layer": 2, "n_head": 4}, "attention interface"),
    "attention in both directions": (
        "Bert",
        {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0},
        "both directions",
    ),
    "soft caps": ("Gemma2", {"attention": "eager", "num_key_value_heads": 2, "head_dim": 8}, "softcap"),
    "sinks": ("GptOss", {"num_local_experts": 4, "num_key_value_heads": 2, "head_dim": 8}, "s_aux"),
    "recurrence": ("Mamba", {"state_size": 4}, "a state or a convolution goes from token to token"),
    "recurrence beside attention": (
        "FalconH1",
        {"mamba_d_ssm": 32, "mamba_n_heads": 4, "mamba_d_head": 8, "mamba_d_state": 8, "num_key_value_heads": 2},
        "a state or a convolution goes from token to token",
    ),
    "convolutions": (
        "Lfm2",
        {"num_key_value_heads": 2, "layer_types": ["conv", "full_attention"]},
        "a state or a convolution goes from token to token",
    ),
    "dropout in attention": ("Llama", {"attention_dropout": 0.1}, "dropout"),
    "a short window": (
        "Mistral",
        {"num_key_value_heads": 2, "head_dim": 8, "sliding_window": 3},
        "sliding window of 3",
    ),
}


@pytest.fixture(autouse=True)
def nothing_said_before() -> Iterator[None]:
    """A warning is given once a process."""
    log_once.cache_clear()
    yield
    log_once.cache_clear()


def unserved_encoder(name: str) -> PromptEncoder:
    architecture, settings, _ = UNSERVED[name]
    return encoder_of(tiny_decoder(architecture, **settings))


def items_of(count: int) -> torch.Tensor:
    return torch.randn(count, ITEM_SIZE, generator=torch.Generator().manual_seed(3))


# the two layouts


def test_a_text_stands_before_its_item() -> None:
    """Items 1, 2, 3; the first has the words -1, -2, the second none, the third -3."""
    items, words = torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([[-1.0], [-2.0], [-3.0]])
    woven = weave_texts(items, words, torch.tensor([2, 0, 1]))
    assert woven.flatten().tolist() == [-1, -2, 1, 2, -3, 3]


def test_segments_are_each_users_items_and_the_response() -> None:
    """Items 1, 2 of the first user, 3 of the second, 4, 5, 6 of the third; d_res is -1, -2."""
    items = torch.arange(1.0, 7.0).unsqueeze(1) * torch.tensor([[1.0, 10.0]])
    row = lay_segments(items, torch.tensor([2, 1, 3]), torch.tensor([[-1.0, -10.0], [-2.0, -20.0]]))
    assert row[:, 0].tolist() == [1, 2, -1, -2, 3, -1, -2, 4, 5, 6, -1, -2]
    assert torch.equal(row[:, 1], row[:, 0] * 10)


def test_gradients_reach_items_and_response() -> None:
    """Each item lies in the row once, d_res once a user."""
    items, response = torch.zeros(3, 1, requires_grad=True), torch.zeros(2, 1, requires_grad=True)
    lay_segments(items, torch.tensor([1, 2]), response).sum().backward()
    assert items.grad is not None
    assert response.grad is not None
    assert items.grad.flatten().tolist() == [1, 1, 1]
    assert response.grad.flatten().tolist() == [2, 2]


def test_pads_lie_behind_and_are_masked() -> None:
    """Instruction 8, 9; segments 1 2 3 and 4."""
    row = PrefixRow(2, torch.tensor([3, 1]), 3, "tiles")
    batch = pad_prompts(torch.tensor([[8.0], [9.0]]), torch.tensor([[1.0], [2.0], [3.0], [4.0]]), row)
    assert batch.embeddings[..., 0].tolist() == [[8, 9, 1, 2, 3], [8, 9, 4, 0, 0]]
    assert batch.attention_mask.tolist() == [[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]


# choosing one


@pytest.mark.parametrize("decoder", SERVED)
def test_plain_decoders_take_the_prefix_row(decoder: str, caplog: pytest.LogCaptureFixture) -> None:
    architecture, settings = SERVED[decoder]
    encoder = encoder_of(tiny_decoder(architecture, **settings))
    assert choose_layout(encoder, PREFIX_ROW) == encoder.layout == PREFIX_ROW
    assert encoder.llm.config._attn_implementation == attention.NAME
    assert not caplog.records


@pytest.mark.parametrize("name", UNSERVED)
def test_other_decoders_fall_back_to_padded_and_say_why(name: str, caplog: pytest.LogCaptureFixture) -> None:
    encoder = unserved_encoder(name)
    with caplog.at_level(logging.WARNING):
        assert choose_layout(encoder, PREFIX_ROW) == encoder.layout == PADDED
    (warning,) = [record.getMessage() for record in caplog.records if "sft_layout" in record.getMessage()]
    architecture, _, why = UNSERVED[name]
    assert f"{architecture}Model" in warning
    assert why in warning
    assert "padded" in warning


@pytest.mark.parametrize("name", UNSERVED)
def test_a_decoder_that_falls_back_is_left_as_it_was(name: str) -> None:
    plain, encoder = unserved_encoder(name), unserved_encoder(name)
    before = encoder.llm.config._attn_implementation
    choose_layout(encoder, PREFIX_ROW)
    assert encoder.llm.config._attn_implementation == before != attention.NAME
    inputs = items_of(7), torch.tensor([4, 1, 2])
    with torch.no_grad():
        assert torch.equal(encoder(*inputs), plain(*inputs))


def test_the_same_warning_is_given_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            choose_layout(unserved_encoder("dropout in attention"), PREFIX_ROW)
    assert sum("sft_layout" in record.getMessage() for record in caplog.records) == 1


def test_padded_is_taken_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    encoder = encoder_of(tiny_decoder("Llama", attention="sdpa"))
    assert choose_layout(encoder, PADDED) == encoder.layout == PADDED
    assert encoder.llm.config._attn_implementation == "sdpa"
    assert not caplog.records


def test_a_kernel_that_fails_on_this_machine_does_not_fail_the_run(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*arguments: Any) -> torch.Tensor:
        raise RuntimeError("no kernel image is available")

    monkeypatch.setitem(attention.KERNELS, "tiles", broken)
    encoder = encoder_of(tiny_decoder("Llama"))
    assert choose_layout(encoder, PREFIX_ROW) == PADDED
    assert "no kernel image is available" in caplog.text


def test_another_kernel_steps_in_for_one_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    """FlexAttention has no backward pass on a CPU."""
    encoder = encoder_of(tiny_decoder("Llama"))
    encoder.kernel = "flex"
    assert choose_layout(encoder, PREFIX_ROW) == PREFIX_ROW
    assert encoder.kernel == "tiles"
    assert "attention kernel flex does not serve here: FlexAttention does not support backward on CPU" in caplog.text


def test_a_layout_can_be_chosen_again() -> None:
    encoder, items, counts = encoder_of(tiny_decoder("Llama")), items_of(3), torch.tensor([2, 1])
    outputs = []
    for wanted in (PREFIX_ROW, PADDED, PREFIX_ROW):
        assert choose_layout(encoder, wanted) == wanted
        outputs.append(encoder(items, counts))
    for output in outputs[1:]:
        torch.testing.assert_close(output, outputs[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("architecture", ["Llama", "GPTNeoX"])
def test_a_decoder_with_adapters_is_served(architecture: str) -> None:
    adapted = get_peft_model(tiny_decoder(architecture), LoraConfig(r=2, target_modules="all-linear"))
    encoder = encoder_of(adapted)
    assert choose_layout(encoder, PREFIX_ROW) == PREFIX_ROW
    assert base_model(adapted).config._attn_implementation == attention.NAME


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", ["Llama", "dropout in attention"])
def test_the_training_mode_is_kept(name: str, training: bool) -> None:
    encoder = unserved_encoder(name) if name in UNSERVED else encoder_of(tiny_decoder(name))
    encoder.train(training)
    choose_layout(encoder, PREFIX_ROW)
    assert {module.training for module in encoder.modules()} == {training}


@pytest.mark.parametrize("wanted", LAYOUTS)
def test_choosing_leaves_no_gradients_and_no_prefix_behind(wanted: str) -> None:
    encoder = encoder_of(tiny_decoder("Llama"))
    choose_layout(encoder, wanted)
    assert all(weight.grad is None for weight in encoder.parameters())
    assert not encoder._prefix_states


def test_a_window_that_holds_the_probe_but_no_real_prompt_is_noticed() -> None:
    llm = tiny_decoder("Mistral", num_key_value_heads=2, head_dim=8, sliding_window=50)
    assert choose_layout(encoder_of(llm), PREFIX_ROW, longest_prompt=50) == PREFIX_ROW
    assert choose_layout(encoder_of(llm), PREFIX_ROW, longest_prompt=51) == PADDED


def test_an_encoder_is_told_by_its_attention_even_where_fresh_weights_hide_it() -> None:
    """With weights of 0.02 attention is nearly uniform, and looking ahead changes outputs by about 1e-5."""
    llm = tiny_decoder("Bert", hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    for weight in llm.parameters():
        torch.nn.init.normal_(weight, std=0.02)
    assert choose_layout(encoder_of(llm), PREFIX_ROW) == PADDED


@pytest.mark.parametrize("wanted", [PREFIX_ROW, PADDED])
def test_an_llm_to_which_pads_make_a_difference_is_refused(wanted: str) -> None:
    """Gemma as PaliGemma sets it up looks at what follows, unless a mask hides pads."""
    decoder = tiny_decoder("Gemma", num_key_value_heads=2, head_dim=8, use_bidirectional_attention=True)
    with pytest.raises(LLMError, match="GemmaModel gives a prompt another hidden state in another batch"):
        choose_layout(encoder_of(decoder), wanted)


def test_an_llm_that_wants_token_ids_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = tiny_decoder("Llama")

    def forward(input_ids: torch.Tensor, **others: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(decoder, "forward", forward)
    with pytest.raises(LLMError, match=r"LlamaModel does not run on embeddings of its input .*input_ids"):
        choose_layout(encoder_of(decoder), PADDED)
