"""Memory of a device: what is free, and what a finished stage has left behind."""

import gc

import psutil
import torch


def free_memory(device: torch.device | str) -> int:
    """Bytes that are free on a device, those that torch keeps there without using them included."""
    if torch.device(device).type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + unused
    return int(psutil.virtual_memory().available)


def collect_leftovers() -> None:
    """Free what nothing refers to any more: a trainer and its network are parts of a reference cycle, and an LLM would
    stay on a GPU until Python happens to look for cycles.
    """
    gc.collect()
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()
