"""In which floating-point type a device computes."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from recbole_tslrec.compute.log_once import log_once

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def named_dtype(name: str, device: torch.device | str) -> torch.dtype:
    """A type by its name; ``auto`` is bfloat16 on a GPU that computes in it, and float32 elsewhere.

    A GPU older than NVIDIA's Ampere converts bfloat16 by way of float32, which is slower than float32.
    """
    if name != "auto":
        return DTYPES[name]
    on_gpu = torch.device(device).type == "cuda"
    return torch.bfloat16 if on_gpu and computes_in_bfloat16(device) else torch.float32


def computes_in_bfloat16(device: torch.device | str) -> bool:
    """Whether a device multiplies in bfloat16 by itself, rather than by way of float32."""
    if torch.device(device).type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # older versions lack it
    return any(capabilities.get(name, False) for name in ("amx_bf16", "avx512_bf16", "bf16"))


@contextmanager
def autocast_in_bfloat16(device: torch.device | str) -> Iterator[None]:
    """Inside, autocast without a named type computes in bfloat16 where a GPU can, as it does on a CPU.

    torch's own type on a GPU is float16, in which small gradients are lost unless the loss is scaled.
    """
    if torch.device(device).type != "cuda" or not computes_in_bfloat16(device):
        yield
        return
    former = torch.get_autocast_dtype("cuda")
    torch.set_autocast_dtype("cuda", torch.bfloat16)
    try:
        yield
    finally:
        torch.set_autocast_dtype("cuda", former)


def warn_of_slow_autocast(device: torch.device | str) -> None:
    """Say, once in a process, that training under autocast is slow on a CPU that does not compute in bfloat16."""
    if torch.device(device).type == "cpu" and not computes_in_bfloat16(device):
        log_once(
            "enable_amp: True trains in bfloat16, for which this CPU has no units: it converts every product by way of "
            "float32, and training is many times slower; use --enable_amp=False"
        )
