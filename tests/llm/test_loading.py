"""Loading an LLM: what works without a download, and one clear error for what does not."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from recbole_tslrec.llm import loading, quantization
from recbole_tslrec.llm.identity import LLMError
from recbole_tslrec.llm.loading import add_adapters, check_llm, load_llm
from recbole_tslrec.llm.settings import LLMSettings, LoraSettings

MakeConfig = Callable[..., Any]
MakeSettings = Callable[..., LLMSettings]


@pytest.fixture
def make_settings(make_config: MakeConfig) -> MakeSettings:
    """``make_settings(**keys)``: which LLM, and how it is loaded."""
    return lambda **keys: LLMSettings.of(make_config(**keys))


def test_pretrained_llm_is_frozen_and_has_no_head(make_settings: MakeSettings, llama_folder: Path) -> None:
    llm = load_llm(make_settings(llm_name_or_path=str(llama_folder)))
    assert isinstance(llm, transformers.LlamaModel)
    assert not any(weight.requires_grad for weight in llm.parameters())


def test_pretrained_weights_are_read(make_settings: MakeSettings, llama_folder: Path) -> None:
    causal = transformers.LlamaForCausalLM.from_pretrained(llama_folder)
    llm = load_llm(make_settings(llm_name_or_path=str(llama_folder)))
    assert torch.equal(llm.embed_tokens.weight, causal.model.embed_tokens.weight)


@pytest.mark.parametrize(("name", "dtype"), [("auto", torch.float32), ("bfloat16", torch.bfloat16)])
def test_dtype_is_the_configured_one(
    make_settings: MakeSettings, llama_folder: Path, name: str, dtype: torch.dtype
) -> None:
    llm = load_llm(make_settings(llm_name_or_path=str(llama_folder), llm_dtype=name))
    assert llm.embed_tokens.weight.dtype == dtype


def test_scratch_is_the_same_for_the_same_seed_and_trains_in_full(make_settings: MakeSettings) -> None:
    first, second, other = (load_llm(make_settings(seed=seed)) for seed in (1, 1, 2))
    assert torch.equal(first.embed_tokens.weight, second.embed_tokens.weight)
    assert not torch.equal(first.embed_tokens.weight, other.embed_tokens.weight)
    assert all(weight.requires_grad for weight in first.parameters())


def test_only_adapters_of_all_linear_layers_train(make_config: MakeConfig, llama_folder: Path) -> None:
    config = make_config(llm_name_or_path=str(llama_folder), lora_rank=3)
    llm = add_adapters(load_llm(LLMSettings.of(config)), LoraSettings.of(config), seed=0)
    trainable = [name for name, weight in llm.named_parameters() if weight.requires_grad]
    assert len(trainable) == 2 * 7 * 2  # layers x (q, k, v, o, gate, up, down) x (A, B)
    assert all("lora_" in name for name in trainable)


def test_making_an_llm_leaves_the_random_stream_alone(make_settings: MakeSettings) -> None:
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    load_llm(make_settings())
    assert torch.equal(torch.rand(1), expected)


def _damaged(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])


def _encoder_decoder(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps(transformers.T5Config().to_dict()))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_damaged, "model.safetensors is cut short or damaged, at 100 bytes"),
        (_encoder_decoder, "is an encoder-decoder"),
        (lambda folder: (folder / "config.json").unlink(), "no folder with a config.json"),
    ],
)
def test_what_cannot_be_loaded_is_said_before_work_starts(
    make_settings: MakeSettings, llama_folder: Path, spoil: Callable[[Path], None], message: str
) -> None:
    spoil(llama_folder)
    with pytest.raises(LLMError, match=message):
        check_llm(make_settings(llm_name_or_path=str(llama_folder)))


def test_quantisation_without_bitsandbytes_names_the_extra(
    make_settings: MakeSettings, llama_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantization, "find_spec", lambda name: None)
    with pytest.raises(LLMError, match=r"recbole_tslrec\[quantization\]"):
        check_llm(make_settings(llm_name_or_path=str(llama_folder), llm_quantization="4bit"))


def test_too_little_memory_says_how_much(
    make_settings: MakeSettings, llama_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "free_memory", lambda device: 1000)
    with pytest.raises(LLMError, match=r"GiB for its weights.*choose a smaller LLM"):
        check_llm(make_settings(llm_name_or_path=str(llama_folder)))


def test_hub_out_of_reach_says_so(make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests run with HF_HUB_OFFLINE=1, which is a hub out of reach."""
    with pytest.raises(LLMError, match="hub cannot be reached and the model is not in the local cache"):
        check_llm(make_settings(llm_name_or_path="nobody/no-such-model"))


def test_target_modules_that_do_not_exist_are_refused(make_config: MakeConfig, llama_folder: Path) -> None:
    config = make_config(llm_name_or_path=str(llama_folder), lora_target_modules=["no_proj"])
    with pytest.raises(LLMError, match="lora_target_modules"):
        add_adapters(load_llm(LLMSettings.of(config)), LoraSettings.of(config), seed=0)
