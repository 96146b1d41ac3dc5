"""Weights in fewer bits: quantised while loading (``llm_quantization``), or by those who made the checkpoint."""

from importlib.util import find_spec
from typing import Any

import torch
from transformers.quantizers.auto import AutoHfQuantizer

from recbole_tslrec.llm.checkpoint_files import first_line, is_gguf
from recbole_tslrec.llm.settings import LLMSettings

# a checkpoint's method -> the modules that transformers needs for it, and what pip calls them
_PACKAGES: dict[str, dict[str, str]] = {
    "aqlm": {"aqlm": "aqlm[gpu,cpu]"},
    "auto-round": {"auto_round": "auto-round"},
    "awq": {"gptqmodel": "gptqmodel"},
    "bitsandbytes": {"bitsandbytes": "bitsandbytes"},
    "compressed-tensors": {"compressed_tensors": "compressed-tensors"},
    "eetq": {"kernels": "kernels"},
    "fbgemm_fp8": {"fbgemm_gpu": "fbgemm-gpu"},
    "fp_quant": {"fp_quant": "fp_quant"},
    "gptq": {"optimum": "optimum", "gptqmodel": "gptqmodel"},
    "hqq": {"hqq": "hqq"},
    "quanto": {"optimum.quanto": "optimum-quanto"},
    "quark": {"quark": "amd-quark"},
    "spqr": {"spqr_quant": "spqr_quant[gpu]"},
    "torchao": {"torchao": "torchao"},
    "vptq": {"vptq": "vptq"},
}
_BITS = {"awq": 4, "mxfp4": 4, "nvfp4": 4, "fp_quant": 4, "bitnet": 2, "aqlm": 2, "vptq": 4, "spqr": 4}
_OTHER = "take the checkpoint that is not quantised (with llm_quantization=4bit if it is large)"
BITSANDBYTES = "bitsandbytes"


def method_of(llm_config: Any) -> str | None:
    """How a checkpoint is quantised, as its configuration says; ``None`` where it is not."""
    given = _as_dict(llm_config)
    if not given:
        return None
    is_bitsandbytes = given.get("load_in_4bit") or given.get("load_in_8bit")
    return BITSANDBYTES if is_bitsandbytes else str(given.get("quant_method"))


def why_not_quantized(settings: LLMSettings, llm_config: Any) -> str | None:
    """Why quantised weights do not serve here, with the cure; ``None`` where they do, or where nothing is quantised."""
    wanted, method = settings.llm_quantization, method_of(llm_config)
    if wanted != "none" and is_gguf(settings.source):
        return "a GGUF file is loaded without its quantisation, and not quantised anew; set llm_quantization to none"
    if wanted != "none" and not installed(BITSANDBYTES):
        return (
            f"llm_quantization={wanted} needs bitsandbytes; install it with: pip install 'recbole_tslrec[quantization]'"
        )
    if method is None:
        return None
    if wanted != "none":
        return f"its weights are quantised already ({method}); set llm_quantization to none"
    reason = _why_not_method(method, llm_config, settings.device)
    return None if reason is None else f"its weights are quantised ({method}), which {reason}, or {_OTHER}"


def _why_not_method(method: str, llm_config: Any, device: torch.device | str) -> str | None:
    """Packages first; then transformers says whether it runs the method here, and whether gradients go through it."""
    missing = [name for module, name in _PACKAGES.get(method, {}).items() if not installed(module)]
    if missing:
        packages = " ".join(f"'{name}'" if "[" in name else name for name in missing)
        return f"needs more packages: pip install {packages}"
    try:
        quantizer = AutoHfQuantizer.from_config(_as_dict(llm_config), pre_quantized=True)
        quantizer.validate_environment(device_map={"": device}, weights_only=True)
        trains = quantizer.is_trainable or getattr(quantizer.quantization_config, "dequantize", False)
    except Exception as error:  # each method has its own conditions, and its own errors
        reason = first_line(error).rstrip(".")
        return f"does not run on this machine's {device} ({reason}); choose another machine"
    return None if trains else "gives no gradients to train adapters by; choose another LLM"


def bytes_per_weight(settings: LLMSettings, llm_config: Any = None) -> float:
    """Bytes that a frozen weight takes: in ``llm_dtype`` or ``llm_quantization``, or as its checkpoint has it."""
    quantized = {"8bit": 1.0, "4bit": 0.5}
    if settings.llm_quantization in quantized:
        return quantized[settings.llm_quantization]
    method, given = method_of(llm_config), _as_dict(llm_config)
    if method is None or (torch.device(settings.device).type == "cpu" and method in ("fp8", "mxfp8", "mxfp4")):
        return float(settings.dtype.itemsize)  # those of the latter come without their quantisation on a CPU
    bits = given.get("bits") or (4 if given.get("load_in_4bit") else _BITS.get(method, 8))
    return float(bits) / 8


def installed(module: str) -> bool:
    """Whether a module can be imported, without importing it."""
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # of the package that it is in
        return False


def _as_dict(llm_config: Any) -> dict[str, Any]:
    given = getattr(llm_config, "quantization_config", None) or {}
    return dict(given if isinstance(given, dict) else given.to_dict())
