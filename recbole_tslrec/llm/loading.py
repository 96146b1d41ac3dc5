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

from recbole_tslrec.llm.precision import llm_dtype
from recbole_tslrec.random_stream import own_random_stream

SCRATCH = "scratch"
QUANTIZATIONS = ("none", "8bit", "4bit")
# transformers 5.23 has new names for activation checkpointing; peft 0.21 and older versions of it know the former only
for _name in ("is_gradient_checkpointing", "gradient_checkpointing_enable"):
    warnings.filterwarnings("ignore", message=f"`{_name}` is deprecated", category=FutureWarning)


class LLMError(RuntimeError):
    """The language model cannot be loaded; the message says why and what to do."""


def load_tokenizer(config: Any) -> Any:
    """The tokenizer of ``llm_name_or_path``; for ``scratch`` one that maps every byte to a token.

    Raises:
        LLMError: it cannot be loaded.
    """
    name = config["llm_name_or_path"]
    if name == SCRATCH:
        return byte_level_tokenizer()
    with _explained(name):
        return transformers.AutoTokenizer.from_pretrained(name)


def byte_level_tokenizer() -> Any:
    """A tokenizer without a vocabulary file: BOS and the 256 bytes."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate(["<s>", *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>")


def load_llm_config(config: Any) -> Any:
    """The architecture of ``llm_name_or_path``.

    Raises:
        LLMError: it cannot be loaded, or is no decoder.
    """
    name = config["llm_name_or_path"]
    if name == SCRATCH:
        return transformers.LlamaConfig(
            vocab_size=len(byte_level_tokenizer()),
            hidden_size=config["scratch_hidden_size"],
            intermediate_size=config["scratch_intermediate_size"],
            num_hidden_layers=config["scratch_layers"],
            num_attention_heads=config["scratch_heads"],
            max_position_embeddings=config["scratch_context_length"],
        )
    if _looks_like_a_folder(name) and not (Path(name) / "config.json").is_file():
        raise LLMError(f"llm_name_or_path [{name}] is no folder with a config.json; check the path, or give a hub name")
    with _explained(name):
        llm_config = transformers.AutoConfig.from_pretrained(name)
    if llm_config.is_encoder_decoder:
        raise LLMError(
            f"[{name}] is an encoder-decoder ({llm_config.model_type}); TSLRec reads the last hidden state of a "
            "decoder: choose one such as Qwen/Qwen3-0.6B"
        )
    return llm_config


def check_llm(config: Any) -> None:
    """Everything that can be known before long work starts: the LLM exists, may be read, and fits into memory.

    Raises:
        LLMError: says which of these fails and what to do.
    """
    llm_config = load_llm_config(config)
    load_tokenizer(config)
    _check_quantization(config)
    _check_weight_files(config["llm_name_or_path"])
    bytes_needed = count_parameters(llm_config) * bytes_per_weight(config)
    bytes_free = free_memory(config["device"])
    if bytes_needed > bytes_free:
        raise LLMError(
            f"[{config['llm_name_or_path']}] needs {bytes_needed / 2**30:.1f} GiB for its weights, {config['device']} "
            f"has {bytes_free / 2**30:.1f} GiB free; choose a smaller LLM, llm_dtype=bfloat16 or llm_quantization=4bit"
        )


def load_llm(config: Any) -> nn.Module:
    """The decoder without a language-model head, frozen, in ``llm_dtype`` on the configured device.

    ``scratch`` is made from ``seed`` and is not frozen.

    Raises:
        LLMError: it cannot be loaded.
    """
    llm_config = load_llm_config(config)
    attention = config["llm_attn_implementation"]
    if config["llm_name_or_path"] == SCRATCH:
        with own_random_stream(config["seed"]):
            llm = transformers.AutoModel.from_config(llm_config, attn_implementation=attention, dtype=torch.float32)
        scratch: nn.Module = llm.to(config["device"])
        return scratch
    _check_quantization(config)
    if not config["show_progress"]:
        transformers.utils.logging.disable_progress_bar()
    options: dict[str, Any] = {"dtype": llm_dtype(config), "attn_implementation": attention}
    quantized = config["llm_quantization"] != "none"
    if quantized:
        options["quantization_config"] = transformers.BitsAndBytesConfig(
            load_in_8bit=config["llm_quantization"] == "8bit",
            load_in_4bit=config["llm_quantization"] == "4bit",
            bnb_4bit_quant_type="nf4",
            bnb_4bit_compute_dtype=llm_dtype(config),
        )
        options["device_map"] = {"": config["device"]}
    with _explained(config["llm_name_or_path"]):
        llm = transformers.AutoModel.from_pretrained(config["llm_name_or_path"], **options)
    if quantized:
        prepared: nn.Module = prepare_model_for_kbit_training(llm, use_gradient_checkpointing=False)
        return prepared
    frozen: nn.Module = llm.requires_grad_(False).to(config["device"])
    return frozen


def add_adapters(llm: nn.Module, config: Any) -> nn.Module:
    """Put fresh LoRA adapters on the LLM; they alone are trained.

    Raises:
        LLMError: ``lora_target_modules`` names no module of the LLM.
    """
    lora = LoraConfig(
        r=config["lora_rank"],
        lora_alpha=config["lora_alpha"],
        lora_dropout=config["lora_dropout"],
        target_modules=config["lora_target_modules"],
        bias="none",
    )
    with own_random_stream(config["seed"]):
        try:
            adapted: nn.Module = get_peft_model(llm, lora)
            return adapted
        except ValueError as error:
            raise LLMError(f"lora_target_modules [{config['lora_target_modules']}] does not fit: {error}") from error


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


def _check_quantization(config: Any) -> None:
    quantization = config["llm_quantization"]
    if quantization not in QUANTIZATIONS:
        raise LLMError(f"llm_quantization [{quantization}] is not one of {', '.join(QUANTIZATIONS)}")
    if quantization == "none":
        return
    if config["llm_name_or_path"] == SCRATCH:
        raise LLMError("llm_quantization does not apply to scratch, which is trained in full; set it to none")
    if find_spec("bitsandbytes") is None:
        raise LLMError(
            f"llm_quantization={quantization} needs bitsandbytes; install it with: "
            "pip install 'recbole_tslrec[quantization]'"
        )


def _check_weight_files(name: str) -> None:
    if name != SCRATCH and Path(name).is_dir():
        with _explained(name):
            for path in Path(name).glob("*.safetensors"):
                with safe_open(str(path), "pt"):  # reads the header and compares it with the file's length
                    pass


def bytes_per_weight(config: Any) -> float:
    """Bytes that a frozen weight takes in ``llm_dtype`` or ``llm_quantization``."""
    quantized = {"8bit": 1.0, "4bit": 0.5}
    return quantized.get(config["llm_quantization"], float(llm_dtype(config).itemsize))


def free_memory(device: torch.device | str) -> int:
    """Bytes that are free on a device."""
    if torch.device(device).type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)


def _looks_like_a_folder(name: str) -> bool:
    return Path(name).exists() or name.startswith((".", "/", "~")) or name.count("/") > 1


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
        if _looks_like_a_folder(self.name):
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
