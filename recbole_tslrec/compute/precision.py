"""In which floating-point type a device computes."""

from typing import Any

import torch

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def named_dtype(name: str, device: torch.device | str) -> torch.dtype:
    """A type by its name; ``auto`` is bfloat16 on a GPU and float32 on a CPU."""
    if name != "auto":
        return DTYPES[name]
    return torch.float32 if torch.device(device).type == "cpu" else torch.bfloat16


def computes_in_bfloat16(device: torch.device | str) -> bool:
    """Whether a device multiplies in bfloat16 by itself, rather than by way of float32."""
    if torch.device(device).type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # older versions lack it
    return any(capabilities.get(name, False) for name in ("amx_bf16", "avx512_bf16", "bf16"))
