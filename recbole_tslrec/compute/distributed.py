"""Several processes, as ``accelerate launch`` or ``torchrun`` start them; with one process nothing here does anything.

Only SFT and export share their work. The other stages run in the main process while the rest wait.
"""

import os
from datetime import timedelta
from typing import Any, TypeVar

import torch

Value = TypeVar("Value")


def process_count() -> int:
    """How many processes take part."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def process_rank() -> int:
    """The number of this process, from 0."""
    return int(os.environ.get("RANK", "0")) if process_count() > 1 else 0


def is_main() -> bool:
    """Whether this process writes manifests, logs and the result."""
    return process_rank() == 0


def own_device(use_gpu: bool) -> torch.device:
    """The device of this process: a GPU of its own where there are any."""
    if use_gpu and torch.cuda.is_available() and os.environ.get("ACCELERATE_USE_CPU", "false").lower() != "true":
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("cpu")


def join(device: Any) -> None:
    """Connect the processes; they then wait for each other as long as a stage takes."""
    if process_count() > 1:
        from accelerate import PartialState

        PartialState(cpu=torch.device(device).type == "cpu", timeout=timedelta(days=30))


def leave() -> None:
    """Take leave of the other processes at the end of a program."""
    if process_count() > 1 and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def wait_for_everyone() -> None:
    """Wait until every process has come here."""
    if process_count() > 1:
        from accelerate import PartialState

        PartialState().wait_for_everyone()


def from_main(value: Value) -> Value:
    """What the main process gave; all must call this."""
    if process_count() == 1:
        return value
    from accelerate.utils import broadcast_object_list

    values = [value]
    broadcast_object_list(values)
    return values[0]
