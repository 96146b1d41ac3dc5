"""LoRA adapters become part of the LLM's weights, unless these are held in few bits."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from peft import PeftModel

from recbole_tslrec.llm.adapters import add_adapters, base_model, merge_adapters
from recbole_tslrec.llm.settings import LoraSettings
from tests.decoders import tiny_decoder


@pytest.fixture
def encoder() -> Any:
    """What has an LLM, whose adapters do something: a fresh B is zero."""
    settings = LoraSettings(lora_rank=2, lora_alpha=4, lora_dropout=0.0, lora_target_modules="all-linear")
    llm = add_adapters(tiny_decoder("Llama"), settings, seed=0).eval()
    for name, weight in llm.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.1)
    return SimpleNamespace(llm=llm)


@torch.no_grad()
def test_merged_weights_give_the_same_states_without_adapters(encoder: Any) -> None:
    tokens = torch.tensor([[1, 2, 3]])
    before = encoder.llm(input_ids=tokens).last_hidden_state
    merge_adapters(encoder)
    assert not isinstance(encoder.llm, PeftModel)
    torch.testing.assert_close(encoder.llm(input_ids=tokens).last_hidden_state, before, rtol=1e-4, atol=1e-5)


def test_a_quantised_llm_keeps_its_adapters(encoder: Any) -> None:
    """Merged, they would be rounded to few bits; transformers marks such an LLM with its quantiser."""
    base_model(encoder.llm).hf_quantizer = object()
    merge_adapters(encoder)
    assert isinstance(encoder.llm, PeftModel)


@pytest.mark.parametrize(
    ("given", "modules"),
    [
        ("all-linear", "all-linear"),
        (r".*\.(q|v)_proj", r".*\.(q|v)_proj"),
        ("q_proj", ["q_proj"]),
        ("q_proj, v_proj", ["q_proj", "v_proj"]),
        (["q_proj", "v_proj"], ["q_proj", "v_proj"]),
    ],
)
def test_modules_are_named_one_by_one_or_by_a_pattern(given: Any, modules: Any) -> None:
    settings = LoraSettings(lora_rank=2, lora_alpha=4, lora_dropout=0.0, lora_target_modules=given)
    assert settings.modules == modules
    llm = add_adapters(tiny_decoder("Llama"), settings, seed=0)
    adapted = {name.split(".")[-4] for name, _ in llm.named_parameters() if "lora_A" in name}
    everywhere = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    assert adapted == {"all-linear": everywhere, "q_proj": {"q_proj"}}.get(str(given), {"q_proj", "v_proj"})
