"""What the LLM stage costs: by hand, and against what torch counts on real decoders."""

import functools
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from peft import LoraConfig, get_peft_model
from torch.utils.flop_counter import FlopCounterMode

from recbole_tslrec.configuration.config import Config
from recbole_tslrec.llm.encoder import PromptEncoder
from recbole_tslrec.llm.layout import choose_layout
from recbole_tslrec.llm.settings import PREFIX_ROW
from recbole_tslrec.settings import derive
from recbole_tslrec.sft import cost
from recbole_tslrec.sft.cost import (
    MOST_TOKENS,
    Decoder,
    MemoryPlan,
    Work,
    estimated_seconds,
    flops_per_weight,
    instance_segments,
    plan_memory,
    prefix_row_work,
    separate_work,
    trained_weights,
)
from recbole_tslrec.sft.settings import FineTuningSettings
from tests.decoders import ITEM_SIZE, encoder_of

USERS, ITEMS, INSTRUCTION, RESPONSE = 40, 8, 20, 2
RANK = 8
WORDS = {"vocab_size": 100, "bos_token_id": 0, "eos_token_id": 0}
LLAMA = transformers.LlamaConfig(
    hidden_size=128, intermediate_size=256, num_hidden_layers=3, num_attention_heads=4, **WORDS
)
CONFIGS = {
    "Llama": LLAMA,
    "Llama, grouped queries": transformers.LlamaConfig(
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        **WORDS,
    ),
    "GPT-2": transformers.GPT2Config(n_embd=64, n_layer=2, n_head=4, **WORDS),
    "GPT-NeoX": transformers.GPTNeoXConfig(
        hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4, **WORDS
    ),
}


def settings(**changed: Any) -> FineTuningSettings:
    """The defaults, but for what the cost depends on."""
    small = {"llm_name_or_path": "some/llm", "llm_dtype": "float32", "llm_quantization": "none"}
    own = {**small, "device": "cpu", "lora_rank": RANK, "sft_tokens_per_batch": None, **changed}
    return FineTuningSettings.of(derive(_defaults(), **own))


@functools.cache
def _defaults() -> Config:
    return Config("SASRec", "toy")


# work, by hand


def test_work_of_a_prefix_row() -> None:
    """Instruction of 3, segments of 2 and 1: 1 + 2 + 3 keys for the instruction, 4 + 5 and 4 for the segments."""
    assert prefix_row_work(3, np.array([2, 1]), rows=1) == Work(examples=2, tokens=6, seen_keys=19)


def test_each_row_computes_the_prefix_anew() -> None:
    assert prefix_row_work(3, np.array([2, 1]), rows=2) == Work(examples=2, tokens=9, seen_keys=25)


def test_work_of_separate_prompts() -> None:
    """Prompts of 5 and 4 tokens: 1 + ... + 5 and 1 + ... + 4 keys; the same as two rows of one segment."""
    assert separate_work(3, np.array([2, 1])) == Work(examples=2, tokens=9, seen_keys=25)


def test_an_instance_level_method_has_a_prompt_for_every_interaction_but_the_first() -> None:
    """Four interactions: prompts of 1, 2 and (cut from 3) 2 items; two: one prompt; one: none. One response token."""
    assert instance_segments(np.array([4, 2, 1]), max_items=2, response=1).tolist() == [2, 3, 3, 2]


def test_texts_of_items_count_on_average() -> None:
    """A user of three items has prompts of 1 and 2; an item takes 2.5 tokens."""
    assert instance_segments(np.array([3]), max_items=2, response=1, tokens_per_item=2.5).tolist() == [3, 6]


def test_users_without_a_second_interaction_have_no_instances() -> None:
    assert len(instance_segments(np.array([1, 1]), max_items=2, response=1)) == 0
    assert len(instance_segments(np.array([], dtype=np.int64), max_items=2, response=1)) == 0


@pytest.mark.parametrize(("per_weight", "expected"), [(2, 2000 + 1920), (4, 4000 + 5760), (6, 6000 + 5760)])
def test_flops_by_hand(per_weight: int, expected: int) -> None:
    """100 weights, 10 tokens; attention 4 x 8 a key and layer, 30 keys, 2 layers; its backward pass costs double."""
    decoder = Decoder(layers=2, hidden_size=8, intermediate_size=16, attention_size=8, weights=100, embedding_weights=0)
    assert decoder.flops(Work(examples=1, tokens=10, seen_keys=30), per_weight) == expected


def test_half_the_speed_of_a_matrix_product_is_reached() -> None:
    assert estimated_seconds(flops=2e12, speed=1e12) == pytest.approx(4)


def test_training_all_weights_costs_a_third_pass_over_them() -> None:
    assert flops_per_weight(settings().llm) == 4
    assert flops_per_weight(settings(llm_name_or_path="scratch").llm) == 6


# a decoder's numbers


@pytest.mark.parametrize("name", CONFIGS)
def test_weights_are_those_of_the_model_without_its_token_embeddings(name: str) -> None:
    model = transformers.AutoModel.from_config(CONFIGS[name])
    embedding = model.get_input_embeddings().weight.numel()
    decoder = Decoder.of(CONFIGS[name])
    assert decoder.weights == sum(weight.numel() for weight in model.parameters()) - embedding
    assert decoder.embedding_weights == embedding


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("Llama", (3, 128, 256, 128)),
        ("Llama, grouped queries", (2, 64, 96, 4 * 32)),
        ("GPT-2", (2, 64, 4 * 64, 64)),  # its configuration leaves the inner width open
        ("GPT-NeoX", (2, 64, 128, 64)),
    ],
)
def test_sizes_are_read_under_whatever_name_they_have(name: str, sizes: tuple[int, int, int, int]) -> None:
    decoder = Decoder.of(CONFIGS[name])
    found = decoder.layers, decoder.hidden_size, decoder.intermediate_size, decoder.attention_size
    assert found == sizes


def test_trained_weights_are_those_of_the_adapters() -> None:
    model = get_peft_model(transformers.AutoModel.from_config(LLAMA), LoraConfig(r=RANK, target_modules="all-linear"))
    adapters = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    assert trained_weights(settings(), Decoder.of(LLAMA)) == adapters


def test_a_scratch_llm_is_trained_in_full() -> None:
    model = transformers.AutoModel.from_config(LLAMA)
    everything = sum(weight.numel() for weight in model.parameters())
    assert trained_weights(settings(llm_name_or_path="scratch"), Decoder.of(LLAMA)) == everything


# against torch's own counts


def adapted_encoder(dtype: torch.dtype = torch.float32, rank: int = RANK) -> PromptEncoder:
    """A prefix row through a Llama with LoRA on all linear layers, ready to be trained."""
    torch.manual_seed(0)
    llm = transformers.AutoModel.from_config(deepcopy(LLAMA)).to(dtype).requires_grad_(False)  # it writes into it
    encoder = encoder_of(get_peft_model(llm, LoraConfig(r=rank, target_modules="all-linear")), INSTRUCTION, RESPONSE)
    assert choose_layout(encoder, PREFIX_ROW) == PREFIX_ROW
    return encoder.train()


def forward(encoder: PromptEncoder) -> torch.Tensor:
    hidden: torch.Tensor = encoder(torch.randn(USERS * ITEMS, ITEM_SIZE), torch.full((USERS,), ITEMS))
    return hidden


def kept_bytes_per_token(encoder: PromptEncoder, half: bool) -> float:
    """What a forward pass keeps for the backward pass, without the parameters, counted by storage."""
    parameters = {weight.untyped_storage().data_ptr() for weight in encoder.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        place = tensor.untyped_storage().data_ptr()
        if place not in parameters:
            kept[place] = tensor  # holding it keeps its address from being used again
        return tensor

    autocast = torch.autocast("cpu", torch.bfloat16, enabled=half)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), autocast:
        forward(encoder)
    tokens = INSTRUCTION + USERS * (ITEMS + RESPONSE)
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values()) / tokens


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_activation_bytes_are_about_what_autograd_keeps(dtype: torch.dtype) -> None:
    counted = kept_bytes_per_token(adapted_encoder(dtype), half=dtype == torch.bfloat16)
    assert Decoder.of(LLAMA).activation_bytes(dtype.itemsize, RANK) == pytest.approx(counted, rel=0.3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_checkpointed_activations_are_the_inputs_of_layers_and_one_whole_layer(dtype: torch.dtype) -> None:
    half = dtype == torch.bfloat16
    one_layer = kept_bytes_per_token(adapted_encoder(dtype), half) / LLAMA.num_hidden_layers
    encoder = adapted_encoder(dtype)
    encoder.checkpoint_activations()
    counted = kept_bytes_per_token(encoder, half) + one_layer
    estimated = Decoder.of(LLAMA).activation_bytes(dtype.itemsize, RANK, checkpointed=True)
    assert estimated == pytest.approx(counted, rel=0.3)


@pytest.mark.parametrize("per_weight", [2, 4])
def test_flops_are_about_what_torch_counts(per_weight: int) -> None:
    """A forward pass, and training of small adapters; short prompts, since torch does not count this attention."""
    encoder = adapted_encoder(rank=2)
    with FlopCounterMode(display=False) as counter:
        if per_weight == 2:
            with torch.no_grad():
                forward(encoder)
        else:
            forward(encoder).sum().backward()
    work = prefix_row_work(INSTRUCTION, np.full(USERS, ITEMS + RESPONSE), rows=1)
    assert Decoder.of(LLAMA).flops(work, per_weight) == pytest.approx(counter.get_total_flops(), rel=0.15)


# a plan for the memory


def plan(monkeypatch: pytest.MonkeyPatch, free: float, longest_prompt: int = 100, **changed: Any) -> MemoryPlan:
    monkeypatch.setattr(cost, "free_memory", lambda device: int(free))
    return plan_memory(settings(**changed), LLAMA, longest_prompt)


DECODER = Decoder.of(LLAMA)
FIXED = 4 * (DECODER.weights + DECODER.embedding_weights) + 16 * trained_weights(settings(), DECODER)
KEPT, CHECKPOINTED = (DECODER.activation_bytes(4, RANK, twice) for twice in (False, True))


def room_for(tokens: int, bytes_per_token: float) -> float:
    """Free memory of which 70%, after what is fixed, holds so many tokens."""
    return FIXED + (tokens + 0.5) * bytes_per_token / 0.7


def test_the_budget_is_what_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    found = plan(monkeypatch, room_for(1000, KEPT))
    assert found == MemoryPlan(FIXED, KEPT, tokens_per_batch=1000, checkpoint_activations=False)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_much_memory_gives_the_most_that_is_of_use(monkeypatch: pytest.MonkeyPatch, device: str) -> None:
    found = plan(monkeypatch, 2**50, device=device)
    assert found.tokens_per_batch == MOST_TOKENS[device]
    assert not found.checkpoint_activations


def test_little_memory_has_activations_computed_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    found = plan(monkeypatch, room_for(500, KEPT))
    assert found.checkpoint_activations
    assert found.bytes_per_token == CHECKPOINTED
    assert found.tokens_per_batch == int(500.5 * KEPT / CHECKPOINTED)


@pytest.mark.parametrize("free", [0.0, room_for(100, CHECKPOINTED), room_for(600, KEPT), 2.0**50])
def test_the_budget_holds_the_longest_prompt(monkeypatch: pytest.MonkeyPatch, free: float) -> None:
    assert plan(monkeypatch, free, longest_prompt=700).tokens_per_batch >= 700


@pytest.mark.parametrize("free", [0.0, 2.0**50])
@pytest.mark.parametrize("tokens", [1, 300, 100_000])
def test_a_given_budget_wins(monkeypatch: pytest.MonkeyPatch, free: float, tokens: int) -> None:
    assert plan(monkeypatch, free, sft_tokens_per_batch=tokens).tokens_per_batch == tokens


def test_a_given_budget_that_does_not_fit_has_activations_computed_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    free = room_for(1000, KEPT)
    assert not plan(monkeypatch, free, sft_tokens_per_batch=1000).checkpoint_activations
    assert plan(monkeypatch, free, sft_tokens_per_batch=1001).checkpoint_activations


def test_processes_on_a_cpu_share_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = plan(monkeypatch, room_for(1000, KEPT))
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert plan(monkeypatch, 2 * room_for(1000, KEPT)) == alone


def test_a_gpu_belongs_to_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = plan(monkeypatch, room_for(1000, KEPT), device="cuda")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert plan(monkeypatch, room_for(1000, KEPT), device="cuda") == alone


def test_a_head_takes_its_weights_their_gradient_and_two_moments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "free_memory", lambda device: 2**50)
    assert plan_memory(settings(), LLAMA, 100, head_weights=1000).fixed_bytes == FIXED + 16 * 1000


@pytest.mark.parametrize(("quantization", "share"), [("none", 4.0), ("8bit", 1.0), ("4bit", 0.5)])
def test_quantised_weights_take_less(monkeypatch: pytest.MonkeyPatch, quantization: str, share: float) -> None:
    trained = 16 * trained_weights(settings(), DECODER)
    found = plan(monkeypatch, 2**50, llm_quantization=quantization).fixed_bytes
    assert found == int(DECODER.weights * share + DECODER.embedding_weights * 4 + trained)  # embeddings in float32
