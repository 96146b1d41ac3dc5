"""Loading an LLM: what works without a download, and one clear error for what does not."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from recbole_tslrec.llm import loading, quantization
from recbole_tslrec.llm.adapters import add_adapters
from recbole_tslrec.llm.identity import LLMError
from recbole_tslrec.llm.layout import choose_layout
from recbole_tslrec.llm.loading import (
    byte_level_tokenizer,
    check_llm,
    context_length,
    load_llm,
    load_llm_config,
    load_tokenizer,
)
from recbole_tslrec.llm.settings import LAYOUTS, PREFIX_ROW, LLMSettings, LoraSettings
from recbole_tslrec.sft.cost import Decoder
from tests.decoders import encoder_of
from tests.llm.gguf_files import write_gguf

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


def _of(llm_config: Any) -> Callable[[Path], None]:
    return lambda folder: llm_config.save_pretrained(folder)


def _own_code(folder: Path) -> None:
    own = {"model_type": "own", "auto_map": {"AutoConfig": "own.OwnConfig", "AutoModel": "own.OwnModel"}}
    (folder / "config.json").write_text(json.dumps(own))


def _weight_lost(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.mlp.down_proj.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def _other_configuration(folder: Path) -> None:
    found = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**found, "intermediate_size": 32}))


def _fewer_words(folder: Path) -> None:
    llm = transformers.LlamaForCausalLM.from_pretrained(folder)
    llm.resize_token_embeddings(200)
    llm.save_pretrained(folder)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_of(transformers.T5Config()), r"\(t5\) is an encoder-decoder"),
        (_of(transformers.CLIPConfig()), r"\(clip\) is no language model"),
        (_of(transformers.ViTConfig()), r"\(vit\) is no language model"),
        (_of(transformers.MllamaConfig()), r"\(mllama\) has a decoder of text that cannot be had without"),
        (_of(transformers.PaliGemmaConfig()), r"\(paligemma\) has a decoder that gives a prompt another hidden state"),
        (_of(transformers.Gemma4TextConfig()), r"\(gemma4_text\) looks each token up in a second table"),
        (_own_code, "needs Python code of its own, which is not run"),
        (_weight_lost, "lacks 1 of the weights .* such as layers.1.mlp.down_proj.weight"),
        (_other_configuration, "its files do not fit each other or are damaged"),
        (_fewer_words, "its tokenizer's ids go up to 256, its word embeddings to 199;.*resize_token_embeddings"),
    ],
)
def test_what_cannot_be_loaded_is_said_before_work_starts(
    make_settings: MakeSettings, llama_folder: Path, spoil: Callable[[Path], None], message: str
) -> None:
    spoil(llama_folder)
    with pytest.raises(LLMError, match=message):
        check_llm(make_settings(llm_name_or_path=str(llama_folder)))


@pytest.mark.parametrize("name", ["sdpaa", "flash_attention_2"])
def test_an_attention_that_is_not_there_is_said_before_work_starts(
    make_settings: MakeSettings, llama_folder: Path, name: str
) -> None:
    with pytest.raises(LLMError, match=rf"llm_attn_implementation \[{name}\] does not serve .*; leave it out"):
        check_llm(make_settings(llm_name_or_path=str(llama_folder), llm_attn_implementation=name))


@pytest.mark.parametrize(("kind", "positions"), [("Bert", 20), ("Roberta", 18), ("Llama", 20)])
def test_positions_that_are_kept_for_pads_are_not_in_the_context(kind: str, positions: int) -> None:
    """RoBERTa's first token has the position behind the pad's number, 1."""
    size = {"hidden_size": 8, "num_attention_heads": 2, "num_hidden_layers": 1, "pad_token_id": 1}
    llm_config = getattr(transformers, f"{kind}Config")(max_position_embeddings=20, **size)
    assert context_length(llm_config) == positions


def test_quantisation_without_bitsandbytes_names_the_extra(
    make_settings: MakeSettings, llama_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantization, "find_spec", lambda name: None)
    with pytest.raises(LLMError, match=r"recbole_tslrec\[quantization\]"):
        check_llm(make_settings(llm_name_or_path=str(llama_folder), llm_quantization="4bit"))


def test_special_tokens_beyond_the_word_embeddings_do_no_harm(make_settings: MakeSettings, llama_folder: Path) -> None:
    """The prompt holds none of them. Gemma 3 has one for images."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(llama_folder)
    tokenizer.add_special_tokens({"pad_token": "<pad>"})
    tokenizer.save_pretrained(llama_folder)
    check_llm(make_settings(llm_name_or_path=str(llama_folder)))


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


def test_target_modules_are_tried_before_work_starts(make_config: MakeConfig, llama_folder: Path) -> None:
    config = make_config(llm_name_or_path=str(llama_folder), lora_target_modules=["no_proj"])
    with pytest.raises(LLMError, match=r"linear layers of this LLM: down_proj, gate_proj, k_proj, o_proj"):
        check_llm(LLMSettings.of(config), LoraSettings.of(config))


# models for more than text, of which the decoder of text is taken

_TEXT = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "head_dim": 8}
_WORDS = {"num_key_value_heads": 2, "vocab_size": 257, "max_position_embeddings": 77, "pad_token_id": 0}
_PICTURES = {
    **{"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2},
    **{"image_size": 28, "patch_size": 14},
}
_THREE_AXES = {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2]}}
_QWEN = {"depth": 1, "hidden_size": 8, "num_heads": 2, "intermediate_size": 8}

NESTED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "Gemma3": ({}, _PICTURES, "Gemma3TextModel"),
    "Llama4": (
        {"intermediate_size_mlp": 24, "num_local_experts": 2},
        {**_PICTURES, "vision_output_dim": 8, "projector_input_dim": 8, "projector_output_dim": 8},
        "Llama4TextModel",
    ),
    "Mistral3": ({"model_type": "mistral"}, {**_PICTURES, "model_type": "pixtral"}, "MistralModel"),
    "Llava": ({"model_type": "llama"}, {**_PICTURES, "model_type": "clip_vision_model"}, "LlamaModel"),
    "Qwen2VL": (_THREE_AXES, {**_QWEN, "embed_dim": 8, "hidden_size": 16}, "Qwen2VLTextModel"),
    "Qwen2_5_VL": (_THREE_AXES, {**_QWEN, "out_hidden_size": 16}, "Qwen2_5_VLTextModel"),
    "Qwen3VL": (
        _THREE_AXES,
        {**_QWEN, "out_hidden_size": 16, "deepstack_visual_indexes": [0]},
        "Qwen3VLTextModel",
    ),
}


def saved(llm_config: Any, folder: Path) -> Path:
    """A model of random weights with the byte-level tokenizer."""
    torch.manual_seed(0)
    transformers.AutoModel.from_config(llm_config).save_pretrained(folder)
    byte_level_tokenizer().save_pretrained(folder)
    return folder


@pytest.mark.parametrize("name", NESTED)
def test_of_a_model_for_pictures_the_decoder_is_taken(make_config: MakeConfig, tmp_path: Path, name: str) -> None:
    text, pictures, expected = NESTED[name]
    whole = getattr(transformers, f"{name}Config")(text_config={**_TEXT, **_WORDS, **text}, vision_config=pictures)
    config = make_config(llm_name_or_path=str(saved(whole, tmp_path / "llm")))
    settings = LLMSettings.of(config)
    check_llm(settings, LoraSettings.of(config))
    llm_config, llm = load_llm_config(settings), load_llm(settings)
    assert type(llm).__name__ == expected
    assert (llm_config.hidden_size, context_length(llm_config)) == (16, 77)
    assert Decoder.of(llm_config).weights + 257 * 16 == sum(weight.numel() for weight in llm.parameters())
    stored = load_file(tmp_path / "llm" / "model.safetensors")
    (words,) = (weight for name, weight in stored.items() if name.endswith("embed_tokens.weight"))
    assert torch.equal(llm.get_input_embeddings().weight, words)
    encoder = encoder_of(add_adapters(llm, LoraSettings.of(config), seed=0))
    assert choose_layout(encoder, PREFIX_ROW) in LAYOUTS


# models without attention

STATEFUL = {
    "Mamba": {"state_size": 4},
    "Mamba2": {"state_size": 4, "num_heads": 4, "head_dim": 8, "n_groups": 1},
    "Rwkv": {"attention_hidden_size": 16, "intermediate_size": 24},
}


@pytest.mark.parametrize("name", STATEFUL)
def test_a_model_without_attention_serves(make_config: MakeConfig, tmp_path: Path, name: str) -> None:
    whole = getattr(transformers, f"{name}Config")(
        **{"vocab_size": 257, "hidden_size": 16, "num_hidden_layers": 2, **STATEFUL[name]}
    )
    modules = ["in_proj"] if "Mamba" in name else "all-linear"
    config = make_config(llm_name_or_path=str(saved(whole, tmp_path / "llm")), lora_target_modules=modules)
    check_llm(LLMSettings.of(config), LoraSettings.of(config))
    llm = add_adapters(load_llm(LLMSettings.of(config)), LoraSettings.of(config), seed=0)
    assert any(weight.requires_grad for weight in llm.parameters())
    assert Decoder.of(load_llm_config(LLMSettings.of(config))).layers == 2


def test_what_adapters_of_mamba_may_not_be_on_is_said_before_work_starts(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    whole = transformers.MambaConfig(vocab_size=257, hidden_size=16, num_hidden_layers=1, state_size=4)
    config = make_config(llm_name_or_path=str(saved(whole, tmp_path / "llm")))
    with pytest.raises(LLMError, match=r"incompatible with Mamba.*linear layers.*dt_proj, in_proj, out_proj, x_proj"):
        check_llm(LLMSettings.of(config), LoraSettings.of(config))


# GGUF files


def test_gguf_file_is_the_model_that_it_was_made_from(
    make_settings: MakeSettings, llama_folder: Path, tmp_path: Path
) -> None:
    """Whatever tokenizer lies beside it."""
    file = write_gguf(llama_folder, tmp_path / "llama.gguf")
    (tmp_path / "tokenizer.json").write_text("of another model")
    folder, single = (make_settings(llm_name_or_path=str(path)) for path in (llama_folder, file))
    check_llm(single)
    words = load_tokenizer(single)("Once upon a time", add_special_tokens=False)["input_ids"]
    assert words == load_tokenizer(folder)("Once upon a time", add_special_tokens=False)["input_ids"]
    assert load_tokenizer(single).bos_token_id == load_tokenizer(folder).bos_token_id
    assert load_llm_config(single).hidden_size == 16
    with torch.no_grad():
        outputs = [load_llm(settings)(torch.tensor([words])).last_hidden_state for settings in (folder, single)]
    torch.testing.assert_close(outputs[1], outputs[0])


def test_adapters_train_on_gguf_weights_that_came_in_8_bits(make_config: MakeConfig, tmp_path: Path) -> None:
    whole = transformers.LlamaConfig(
        vocab_size=257, hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2
    )
    transformers.LlamaForCausalLM(whole).save_pretrained(tmp_path / "llama")
    byte_level_tokenizer().save_pretrained(tmp_path / "llama")
    file = write_gguf(tmp_path / "llama", tmp_path / "llama.gguf", quantized=True)
    config = make_config(llm_name_or_path=str(file), lora_rank=2)
    check_llm(LLMSettings.of(config), LoraSettings.of(config))
    llm = add_adapters(load_llm(LLMSettings.of(config)), LoraSettings.of(config), seed=0)
    assert llm.peft_config["default"].base_model_name_or_path == str(file)
    assert {weight.dtype for weight in llm.parameters()} == {torch.float32}
    llm(inputs_embeds=torch.randn(1, 3, 32)).last_hidden_state.square().sum().backward()
    adapters = [weight for name, weight in llm.named_parameters() if "lora_B" in name]
    assert len(adapters) == 7
    assert all(weight.grad.abs().sum() > 0 for weight in adapters)


def test_gguf_file_with_too_few_weights_is_refused(
    make_settings: MakeSettings, llama_folder: Path, tmp_path: Path
) -> None:
    _weight_lost(llama_folder)
    file = write_gguf(llama_folder, tmp_path / "llama.gguf")
    with pytest.raises(LLMError, match=r"holds [0-9,]+ of the [0-9,]+ weights that it should"):
        check_llm(make_settings(llm_name_or_path=str(file)))
