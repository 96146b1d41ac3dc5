"""The decoder and its tokenizer: by hub name, from a folder, or the embedded ``scratch``; with LoRA adapters."""

import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
import torch
import transformers
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError
from peft import LoraConfig, PeftModel, get_peft_model, prepare_model_for_kbit_training
from safetensors import SafetensorError, safe_open
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch import nn

from recbole_tslrec.compute.random_state import isolated_random_state
from recbole_tslrec.llm.identity import LLMError, hub_revision, looks_like_a_folder
from recbole_tslrec.llm.settings import LLMSettings, LoraSettings

# transformers 5.23 has new names for activation checkpointing; peft 0.21 and older versions of it know the former only
for _name in ("is_gradient_checkpointing", "gradient_checkpointing_enable"):
    warnings.filterwarnings("ignore", message=f"`{_name}` is deprecated", category=FutureWarning)


def load_tokenizer(settings: LLMSettings) -> Any:
    """The tokenizer of ``llm_name_or_path``; for ``scratch`` one that maps every byte to a token.

    Raises:
        LLMError: it cannot be loaded.
    """
    name = settings.source
    if settings.is_scratch:
        return byte_level_tokenizer()
    with _explained(name):
        return transformers.AutoTokenizer.from_pretrained(name, **_revision(name))


def byte_level_tokenizer() -> Any:
    """A tokenizer without a vocabulary file: BOS and the 256 bytes."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate(["<s>", *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>")


def load_llm_config(settings: LLMSettings) -> Any:
    """The architecture of ``llm_name_or_path``.

    Raises:
        LLMError: it cannot be loaded, or is no decoder.
    """
    name = settings.source
    if settings.is_scratch:
        return transformers.LlamaConfig(
            vocab_size=len(byte_level_tokenizer()),
            hidden_size=settings.scratch.scratch_hidden_size,
            intermediate_size=settings.scratch.scratch_intermediate_size,
            num_hidden_layers=settings.scratch.scratch_layers,
            num_attention_heads=settings.scratch.scratch_heads,
            max_position_embeddings=settings.scratch.scratch_context_length,
        )
    if looks_like_a_folder(name) and not (Path(name) / "config.json").is_file():
        raise LLMError(f"llm_name_or_path [{name}] is no folder with a config.json; check the path, or give a hub name")
    with _explained(name):
        llm_config = transformers.AutoConfig.from_pretrained(name, **_revision(name))
    if llm_config.is_encoder_decoder:
        raise LLMError(
            f"[{name}] is an encoder-decoder ({llm_config.model_type}); TSLRec reads the last hidden state of a "
            "decoder: choose one such as Qwen/Qwen3-0.6B"
        )
    return llm_config


def check_llm(settings: LLMSettings) -> None:
    """Everything that can be known before long work starts: the LLM exists, may be read, and fits into memory.

    Raises:
        LLMError: says which of these fails and what to do.
    """
    llm_config = load_llm_config(settings)
    load_tokenizer(settings)
    _check_quantization(settings)
    _check_weight_files(settings)
    bytes_needed = count_parameters(llm_config) * bytes_per_weight(settings)
    bytes_free = free_memory(settings.device)
    if bytes_needed > bytes_free:
        raise LLMError(
            f"[{settings.source}] needs {bytes_needed / 2**30:.1f} GiB for its weights, {settings.device} "
            f"has {bytes_free / 2**30:.1f} GiB free; choose a smaller LLM, llm_dtype=bfloat16 or llm_quantization=4bit"
        )


def load_llm(settings: LLMSettings) -> nn.Module:
    """The decoder without a language-model head, frozen, in ``llm_dtype`` on the configured device.

    ``scratch`` is made from ``seed`` and is not frozen.

    Raises:
        LLMError: it cannot be loaded.
    """
    llm_config = load_llm_config(settings)
    attention = settings.llm_attn_implementation
    if settings.is_scratch:
        with isolated_random_state(settings.seed):
            llm = transformers.AutoModel.from_config(llm_config, attn_implementation=attention, dtype=torch.float32)
        scratch: nn.Module = llm.to(settings.device)
        return scratch
    _check_quantization(settings)
    if not settings.show_progress:
        transformers.utils.logging.disable_progress_bar()
    options: dict[str, Any] = {"dtype": settings.dtype, "attn_implementation": attention}
    quantized = settings.llm_quantization != "none"
    if quantized:
        options["quantization_config"] = transformers.BitsAndBytesConfig(
            load_in_8bit=settings.llm_quantization == "8bit",
            load_in_4bit=settings.llm_quantization == "4bit",
            bnb_4bit_quant_type="nf4",
            bnb_4bit_compute_dtype=settings.dtype,
        )
        options["device_map"] = {"": settings.device}
    name = settings.source
    with _explained(name):
        llm = transformers.AutoModel.from_pretrained(name, **options, **_revision(name))
    if quantized:
        prepared: nn.Module = prepare_model_for_kbit_training(llm, use_gradient_checkpointing=False)
        return prepared
    frozen: nn.Module = llm.requires_grad_(False).to(settings.device)
    return frozen


def add_adapters(llm: nn.Module, settings: LoraSettings, seed: int) -> nn.Module:
    """Put fresh LoRA adapters on the LLM; they alone are trained.

    Raises:
        LLMError: ``lora_target_modules`` names no module of the LLM.
    """
    lora = LoraConfig(
        r=settings.lora_rank,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        target_modules=settings.lora_target_modules,
        bias="none",
    )
    with isolated_random_state(seed):
        try:
            adapted: nn.Module = get_peft_model(llm, lora)
            return adapted
        except ValueError as error:
            raise LLMError(f"lora_target_modules [{settings.lora_target_modules}] does not fit: {error}") from error


def merge_adapters(encoder: Any) -> None:
    """Make the LoRA adapters of an encoder's LLM part of its weights."""
    if isinstance(encoder.llm, PeftModel):
        encoder.llm = encoder.llm.merge_and_unload()


def base_model(llm: nn.Module) -> Any:
    """The transformers model itself, without peft's wrapping."""
    return llm.get_base_model() if isinstance(llm, PeftModel) else llm


def context_length(llm_config: Any) -> int:
    """The longest prompt of the LLM, in tokens."""
    return int(getattr(llm_config, "max_position_embeddings", 2**31))


def count_parameters(llm_config: Any) -> int:
    """The number of weights of an architecture, counted without making them."""
    with torch.device("meta"):
        return sum(weight.numel() for weight in transformers.AutoModel.from_config(llm_config).parameters())


def _revision(name: str) -> dict[str, str]:
    """The revision of a hub name that recipes hold, for ``from_pretrained``; by itself that takes the hub's newest."""
    return {} if looks_like_a_folder(name) else {"revision": hub_revision(name)}


def _check_quantization(settings: LLMSettings) -> None:
    if settings.llm_quantization != "none" and find_spec("bitsandbytes") is None:
        raise LLMError(
            f"llm_quantization={settings.llm_quantization} needs bitsandbytes; install it with: "
            "pip install 'recbole_tslrec[quantization]'"
        )


def _check_weight_files(settings: LLMSettings) -> None:
    name = settings.source
    if not settings.is_scratch and Path(name).is_dir():
        with _explained(name):
            for path in Path(name).glob("*.safetensors"):
                with safe_open(str(path), "pt"):  # reads the header and compares it with the file's length
                    pass


def bytes_per_weight(settings: LLMSettings) -> float:
    """Bytes that a frozen weight takes in ``llm_dtype`` or ``llm_quantization``."""
    quantized = {"8bit": 1.0, "4bit": 0.5}
    return quantized.get(settings.llm_quantization, float(settings.dtype.itemsize))


def free_memory(device: torch.device | str) -> int:
    """Bytes that are free on a device."""
    if torch.device(device).type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)


class _explained:
    """Turns the many errors of loading from the hub or a folder into one that says which and what to do."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        if isinstance(error, (OSError, ValueError, MemoryError, ImportError, RuntimeError, SafetensorError)):
            raise LLMError(f"[{self.name}] cannot be loaded: {self._reason(error)}") from error

    def _reason(self, error: BaseException) -> str:
        chain: list[BaseException] = []
        link: BaseException | None = error
        while link is not None and link not in chain:
            chain.append(link)
            link = link.__cause__ or link.__context__
        if looks_like_a_folder(self.name):
            if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
                return "not enough memory; choose a smaller LLM, llm_dtype=bfloat16 or llm_quantization=4bit"
            return f"the folder is incomplete or damaged ({_first_line(error)}); download it again"
        for link in chain:
            if isinstance(link, GatedRepoError):
                return "its repository is gated; accept its licence on its hub page, then run `hf auth login`"
            if isinstance(link, RepositoryNotFoundError):
                return "the hub has no such repository, or it is private; check the name, or run `hf auth login`"
            if isinstance(link, (MemoryError, torch.OutOfMemoryError)):
                return "not enough memory; choose a smaller LLM, llm_dtype=bfloat16 or llm_quantization=4bit"
        unreachable = (ConnectionError, TimeoutError, LocalEntryNotFoundError, HfHubHTTPError)
        if any(isinstance(link, unreachable) or "connect" in str(link).lower() for link in chain):
            return (
                "the hub cannot be reached and the model is not in the local cache; go online, give the folder of a "
                "downloaded model, or use llm_name_or_path=scratch"
            )
        return _first_line(error)


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
