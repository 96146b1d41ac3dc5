"""In which floating-point type the LLM computes."""

from typing import Any

import torch

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def llm_dtype(config: Any) -> torch.dtype:
    """``llm_dtype``; ``auto`` is bfloat16 on a GPU and float32 on a CPU.

    Raises:
        ValueError: no such type.
    """
    name = config["llm_dtype"]
    if name == "auto":
        name = "float32" if torch.device(config["device"]).type == "cpu" else "bfloat16"
    return _named("llm_dtype", name)


def export_dtype(config: Any) -> torch.dtype:
    """``export_dtype``; ``auto`` is bfloat16 where the device computes in it, else ``llm_dtype``.

    Raises:
        ValueError: no such type.
    """
    name = config["export_dtype"]
    if name == "auto":
        return torch.bfloat16 if computes_in_bfloat16(config["device"]) else llm_dtype(config)
    return _named("export_dtype", name)


def computes_in_bfloat16(device: torch.device | str) -> bool:
    """Whether a device multiplies in bfloat16 by itself, rather than by way of float32."""
    if torch.device(device).type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # older versions cannot tell
    return any(capabilities.get(name, False) for name in ("amx_bf16", "avx512_bf16", "bf16"))


def _named(key: str, name: str) -> torch.dtype:
    if name not in DTYPES:
        raise ValueError(f"{key} [{name}] is not one of auto, {', '.join(DTYPES)}")
    return DTYPES[name]
