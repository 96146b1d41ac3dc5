"""The decoder and its tokenizer: by hub name, from a folder, or the embedded ``scratch``."""

import copy
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import transformers
from huggingface_hub.constants import HF_HUB_OFFLINE
from peft import prepare_model_for_kbit_training
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch import nn
from transformers.models.auto import modeling_auto

from recbole_tslrec.compute.memory import free_memory
from recbole_tslrec.compute.random_state import isolated_random_state
from recbole_tslrec.llm.adapters import add_adapters
from recbole_tslrec.llm.checkpoint_files import first_line, gguf_tensors, is_gguf, why_incomplete
from recbole_tslrec.llm.identity import LLMError, hub_revision, looks_like_a_path, refuse_other_paths
from recbole_tslrec.llm.loading_errors import EXAMPLE, LESS_MEMORY, explained
from recbole_tslrec.llm.quantization import BITSANDBYTES, bytes_per_weight, method_of, why_not_quantized
from recbole_tslrec.llm.settings import LLMSettings, LoraSettings

# transformers 5.23 has new names for activation checkpointing; peft 0.21 and older versions of it know the former only
for _name in ("is_gradient_checkpointing", "gradient_checkpointing_enable"):
    warnings.filterwarnings("ignore", message=f"`{_name}` is deprecated", category=FutureWarning)

_BEYOND_THE_DECODER = ("output.weight", "rope_freqs.weight")  # in a GGUF file: the head, and what is no weight here
# what goes on with a text, or fills in its gaps; with pictures and sounds as well
_KINDS_OF_TEXT = frozenset(
    name
    for kind in ("CAUSAL_LM", "MASKED_LM", "IMAGE_TEXT_TO_TEXT", "MULTIMODAL_LM")
    for name in getattr(modeling_auto, f"MODEL_FOR_{kind}_MAPPING_NAMES", ())
)


def load_tokenizer(settings: LLMSettings) -> Any:
    """The tokenizer of ``llm_name_or_path``; for ``scratch`` one that maps every byte to a token.

    Raises:
        LLMError: it cannot be loaded.
    """
    if settings.is_scratch:
        return byte_level_tokenizer()
    with explained(settings.source), place_of(settings.source) as (name, options):
        return transformers.AutoTokenizer.from_pretrained(name, trust_remote_code=False, **options)


def byte_level_tokenizer() -> Any:
    """A tokenizer without a vocabulary file: BOS and the 256 bytes."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate(["<s>", *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>")


def load_llm_config(settings: LLMSettings, tokens: int | None = None) -> Any:
    """The architecture of ``llm_name_or_path``; of a model for images or sounds as well, that of its decoder of text.

    Args:
        settings: which one.
        tokens: how many ``scratch`` knows; ``None`` means those of :func:`byte_level_tokenizer`. Any other LLM has its
            own.

    Raises:
        LLMError: it cannot be loaded, or is no decoder.
    """
    return _of_text(_load_whole_config(settings, tokens))


def _load_whole_config(settings: LLMSettings, tokens: int | None = None) -> Any:
    if settings.is_scratch:
        return transformers.LlamaConfig(
            vocab_size=tokens or len(byte_level_tokenizer()),
            hidden_size=settings.scratch.scratch_hidden_size,
            intermediate_size=settings.scratch.scratch_intermediate_size,
            num_hidden_layers=settings.scratch.scratch_layers,
            num_attention_heads=settings.scratch.scratch_heads,
            max_position_embeddings=settings.scratch.scratch_context_length,
        )
    llm_config = read_config(settings.source)
    with explained(settings.source):
        reason = _why_unsuited(llm_config)
    if reason is not None:
        raise LLMError(f"[{settings.source}] ({llm_config.model_type}) {reason}; choose a decoder such as {EXAMPLE}")
    return llm_config


def read_config(source: str) -> Any:
    """The configuration in a folder, of a GGUF file or on the hub.

    Raises:
        LLMError: it cannot be read.
    """
    if looks_like_a_path(source):
        refuse_other_paths(source)
    with explained(source), place_of(source) as (name, options):
        return transformers.AutoConfig.from_pretrained(name, trust_remote_code=False, **options)


def check_files(settings: LLMSettings) -> None:
    """Refuse a folder or file that is none of an LLM, or lacks weights.

    Raises:
        LLMError: says which.
    """
    if looks_like_a_path(settings.source) and not settings.is_scratch:
        refuse_other_paths(settings.source)
        _refuse(settings, why_incomplete(Path(settings.source)))


def _why_unsuited(llm_config: Any) -> str | None:
    """Why an architecture does not serve: embeddings go in, and what is read is the last hidden state of a decoder."""
    if llm_config.is_encoder_decoder:
        return "is an encoder-decoder, and what is read is the last hidden state of a decoder"
    text = _of_text(llm_config)
    if not _KINDS_OF_TEXT & {llm_config.model_type, text.model_type}:
        return "is no language model: it does not go on with a text"
    if type(text) not in transformers.MODEL_MAPPING:
        return "has a decoder of text that cannot be had without its other parts"
    if text.model_type.startswith("gemma4") and text.hidden_size_per_layer_input:
        return "looks each token up in a second table of embeddings, and items are no tokens"
    if llm_config.model_type == "paligemma":
        return "has a decoder that gives a prompt another hidden state where pads stand behind it"
    return None


def _of_text(llm_config: Any) -> Any:
    """The part of a configuration that describes the decoder of text: all of it, or ``text_config`` and the like."""
    text = llm_config.get_text_config(decoder=True)
    if text is not llm_config and hasattr(llm_config, "quantization_config"):
        text.quantization_config = llm_config.quantization_config
    return text


def check_llm(settings: LLMSettings, lora: LoraSettings | None = None) -> None:
    """Everything that can be known before long work starts.

    The LLM exists and is whole, may be read, serves and fits into memory; its tokenizer is its own; adapters fit it.

    Args:
        settings: which LLM.
        lora: the adapters that it will get, if any.

    Raises:
        LLMError: says which of these fails and what to do.
    """
    check_files(settings)
    llm_config = _load_whole_config(settings)
    _refuse(settings, why_not_quantized(settings, llm_config))
    _check_attention(settings, llm_config)
    _refuse(settings, _why_not_its_tokenizer(load_tokenizer(settings), _of_text(llm_config)))
    if lora is not None and not settings.is_scratch:
        add_adapters(_blank(_of_text(llm_config)), lora, settings.seed)
    _check_weights(settings, llm_config)
    bytes_needed = count_parameters(llm_config) * bytes_per_weight(settings, llm_config)
    bytes_free = free_memory(settings.device)
    if bytes_needed > bytes_free:
        raise LLMError(
            f"[{settings.source}] needs {bytes_needed / 2**30:.1f} GiB for its weights, {settings.device} "
            f"has {bytes_free / 2**30:.1f} GiB free; {LESS_MEMORY}"
        )


def load_llm(settings: LLMSettings) -> nn.Module:
    """The decoder without a language-model head, frozen, in ``llm_dtype`` on the configured device.

    ``scratch`` is made from ``seed`` and is not frozen.

    Raises:
        LLMError: it cannot be loaded.
    """
    llm_config = _load_whole_config(settings)
    llm = _load_frozen(settings, llm_config, transformers.AutoModel)
    return llm if _of_text(llm_config) is llm_config else _decoder(llm, llm_config)


def load_llm_and_head(settings: LLMSettings, tokens: int | None = None) -> tuple[nn.Module, nn.Module]:
    """The decoder of :func:`load_llm`, and the layer that makes scores of the next token of its hidden states.

    Where the two share the word embeddings, as ``scratch`` does here, they still do.

    Args:
        settings: which one.
        tokens: as :func:`load_llm_config` has them.

    Raises:
        LLMError: it cannot be loaded, or does not predict the next token.
    """
    llm_config = _load_whole_config(settings, tokens)
    if type(_of_text(llm_config)) not in transformers.MODEL_FOR_CAUSAL_LM_MAPPING:
        raise LLMError(
            f"[{settings.source}] ({llm_config.model_type}) does not predict the next token; choose a decoder such as "
            f"{EXAMPLE}"
        )
    if settings.is_scratch:
        llm_config.tie_word_embeddings = True
    model: Any = _load_frozen(settings, llm_config, transformers.AutoModelForCausalLM)
    return _decoder(model, llm_config), model.get_output_embeddings()


def _decoder(model: Any, llm_config: Any) -> nn.Module:
    """The decoder of text in a larger model."""
    decoder = transformers.MODEL_MAPPING[type(_of_text(llm_config))]
    found: Any = next(module for module in model.modules() if isinstance(module, decoder))
    found.name_or_path = found.config.name_or_path = model.name_or_path
    return found  # type: ignore[no-any-return]


def _load_frozen(settings: LLMSettings, llm_config: Any, kind: Any) -> Any:
    attention = settings.llm_attn_implementation
    if settings.is_scratch:
        with isolated_random_state(settings.seed):
            llm = kind.from_config(llm_config, attn_implementation=attention, dtype=torch.float32)
        return llm.to(settings.device)
    _refuse(settings, why_not_quantized(settings, llm_config))
    if not settings.show_progress:
        transformers.utils.logging.disable_progress_bar()
    options: dict[str, Any] = {"dtype": settings.dtype, "attn_implementation": attention}
    if settings.llm_quantization != "none":
        options["quantization_config"] = transformers.BitsAndBytesConfig(
            load_in_8bit=settings.llm_quantization == "8bit",
            load_in_4bit=settings.llm_quantization == "4bit",
            bnb_4bit_quant_type="nf4",
            bnb_4bit_compute_dtype=settings.dtype,
        )
    elif is_gguf(settings.source) and hasattr(transformers, "GgufConfig"):  # older versions know no other way
        options["quantization_config"] = transformers.GgufConfig(dequantize=True)  # packed weights have no gradients
    method = method_of(llm_config) or (BITSANDBYTES if settings.llm_quantization != "none" else None)
    if method is not None:
        options["device_map"] = {"": settings.device}
    llm = load_whole(settings, kind, **options)
    llm.name_or_path = llm.config.name_or_path = settings.source  # adapters say what they are for
    if method == BITSANDBYTES:
        return prepare_model_for_kbit_training(llm, use_gradient_checkpointing=False)
    llm.requires_grad_(False)
    return llm if method is not None else llm.to(settings.device)


def load_whole(settings: LLMSettings, kind: Any = transformers.AutoModel, **options: Any) -> Any:
    """The whole model from its files.

    Raises:
        LLMError: it cannot be loaded, or the files do not hold all of its weights.
    """
    with explained(settings.source), place_of(settings.source) as (name, place):
        llm, found = kind.from_pretrained(name, output_loading_info=True, trust_remote_code=False, **options, **place)
    missing = sorted(weight for weight in found["missing_keys"] if "pooler" not in weight)  # a BERT's head: not read
    if missing:
        raise LLMError(
            f"[{settings.source}] lacks {len(missing)} of the weights that a {type(llm).__name__} of its configuration "
            f"has, such as {missing[0]}: weights and configuration are not of one model, or in part; "
            "fetch both from one place"
        )
    return llm


def context_length(llm_config: Any) -> int:
    """The longest prompt of the LLM, in tokens."""
    names = ("max_position_embeddings", "max_seq_len", "context_length")  # ALiBi and recurrence have no limit
    lengths = (getattr(llm_config, name, None) for name in names)
    return int(next((length for length in lengths if length), 2**31)) - _reserved_positions(llm_config)


def _reserved_positions(llm_config: Any) -> int:
    """Positions that no token has: RoBERTa and its kin keep those up to the pad's number for pads."""
    reserved = (
        module.padding_idx + 1
        for name, module in _blank(llm_config).named_modules()
        if name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None
    )
    return next(reserved, 0)


def count_parameters(llm_config: Any) -> int:
    """The number of weights of an architecture, counted without making them."""
    return sum(weight.numel() for weight in _blank(llm_config).parameters())


def _check_attention(settings: LLMSettings, llm_config: Any) -> None:
    """Refuse an ``llm_attn_implementation`` that transformers does not know, or that this machine lacks.

    Raises:
        LLMError: says why.
    """
    if settings.llm_attn_implementation is None:
        return
    try:
        with torch.device("meta"):
            transformers.AutoModel.from_config(
                copy.deepcopy(llm_config), attn_implementation=settings.llm_attn_implementation
            )
    except (ImportError, ValueError) as error:
        raise LLMError(
            f"llm_attn_implementation [{settings.llm_attn_implementation}] does not serve [{settings.source}]: "
            f"{first_line(error)}; leave it out to let transformers choose"
        ) from error


def _blank(llm_config: Any) -> Any:
    """A model of an architecture, its weights without memory."""
    with torch.device("meta"):
        return transformers.AutoModel.from_config(llm_config)


@contextmanager
def place_of(source: str) -> Iterator[tuple[str, dict[str, str]]]:
    """What ``from_pretrained`` calls a source: a folder, a folder and a GGUF file, or a hub name and its revision.

    A GGUF file is given alone: from its own folder transformers would take the tokenizer and the adapters of others.
    The revision is the one that recipes hold; by itself ``from_pretrained`` takes the hub's newest.
    """
    if not is_gguf(source):
        yield source, {} if looks_like_a_path(source) else {"revision": hub_revision(source)}
        return
    with TemporaryDirectory() as alone:
        link = Path(alone) / "model.gguf"
        link.symlink_to(Path(source).resolve())
        yield alone, {"gguf_file": link.name}


def _refuse(settings: LLMSettings, reason: str | None) -> None:
    if reason is not None:
        raise LLMError(f"llm_name_or_path [{settings.source}]: {reason}")


def _why_not_its_tokenizer(tokenizer: Any, llm_config: Any) -> str | None:
    """Why token ids would reach beyond the word embeddings; of special tokens the prompt holds BOS only."""
    special = {index for index, token in tokenizer.added_tokens_decoder.items() if token.special}
    unused = special - {tokenizer.bos_token_id}
    largest = max((index for index in tokenizer.get_vocab().values() if index not in unused), default=-1)
    if largest < 0:
        return "its tokenizer has no words; fetch the tokenizer's files from where the weights are from"
    if largest < llm_config.vocab_size:
        return None
    return (
        f"its tokenizer's ids go up to {largest:,}, its word embeddings to {llm_config.vocab_size - 1:,}; take the "
        "tokenizer that belongs to it, or enlarge the embeddings: model.resize_token_embeddings(len(tokenizer))"
    )


def _check_weights(settings: LLMSettings, llm_config: Any) -> None:
    """Load the weights' names and shapes, without the weights; not of a hub name, which would be fetched for it.

    Raises:
        LLMError: they are not those of the configuration.
    """
    source = settings.source
    if is_gguf(source):
        tensors = gguf_tensors(Path(source))
        held = sum(int(tensor.n_elements) for tensor in tensors if tensor.name not in _BEYOND_THE_DECODER)
        needed = count_parameters(llm_config)
        if held < needed:
            raise LLMError(f"[{source}] holds {held:,} of the {needed:,} weights that it should; fetch it again")
    elif method_of(llm_config) is None and (Path(source).is_dir() or (HF_HUB_OFFLINE and not settings.is_scratch)):
        verbosity = transformers.logging.get_verbosity()
        transformers.logging.set_verbosity_error()  # the head, which is not wanted, would be reported
        try:
            load_whole(settings, device_map="meta")
        finally:
            transformers.logging.set_verbosity(verbosity)
