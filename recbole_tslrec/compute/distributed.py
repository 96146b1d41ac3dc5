"""Several processes, as ``accelerate launch`` or ``torchrun`` start them; with one process nothing here does anything.

Ranks are those among all processes of all nodes; the number of a process on its own node chooses its GPU and no more.
What is not shared runs in the main process while the rest wait.
"""

import gc
import importlib
import os
import warnings
from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from recbole_tslrec.compatibility.devices import may_use_gpu

Value = TypeVar("Value")

# torch 2.13's new name for it leaves out what older versions need
warnings.filterwarnings("ignore", message="`broadcast_buffers` is deprecated", category=FutureWarning)

_SHARDED_LAUNCHES = ("ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED", "ACCELERATE_USE_MEGATRON_LM")


class Share(NamedTuple):
    """Which part of some work a process does: of parts numbered from 0 every ``of``-th, from its own number on.

    Attributes:
        number: of the process, from 0.
        of: how many processes share the work.
    """

    number: int
    of: int

    def has(self, part: int) -> bool:
        """Whether the part is one of its own."""
        return part % self.of == self.number


ALONE = Share(0, 1)


def process_count() -> int:
    """How many processes take part."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def process_rank() -> int:
    """The number of this process, from 0."""
    return int(os.environ.get("RANK", "0")) if process_count() > 1 else 0


def is_main() -> bool:
    """Whether this process writes manifests, logs and the result."""
    return process_rank() == 0


def own_share() -> Share:
    """The part of this process where all of them share the work."""
    return Share(process_rank(), process_count())


def own_device(use_gpu: bool = True) -> torch.device:
    """The device of this process: a GPU of its own where there are any and ``accelerate launch --cpu`` forbids none."""
    if may_use_gpu(use_gpu) and torch.cuda.is_available():
        # a scheduler may show each process a GPU of its own alone
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    return torch.device("cpu")


def join(device: Any) -> None:
    """Connect the processes; they then wait for each other as long as a stage takes.

    Raises:
        ImportError: accelerate is not installed.
    """
    if process_count() > 1:
        try:
            from accelerate import PartialState
        except ImportError as error:
            raise ImportError(
                f"{process_count()} processes were started, and they need {error.name} to work together; install it "
                "with: pip install 'recbole_tslrec[llm]', or start one process"
            ) from error

        # DistributedDataParallel imports this, and its functions take the group that exists then as their default, so
        # that leave() could not end the group
        importlib.import_module("torch.distributed.nn.functional")
        PartialState(cpu=torch.device(device).type == "cpu", timeout=timedelta(days=30))


def leave() -> None:
    """Take leave of the other processes at the end of a program.

    The group ends with the last model that holds it. If it does not, gloo's threads live on, and one that frees a
    tensor while the interpreter ends aborts the process (PyTorch pull request 179291).
    """
    if process_count() > 1 and torch.distributed.is_initialized():
        gc.collect()  # models that are parts of reference cycles
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


def tensor_from_main(tensor: Tensor) -> Tensor:
    """A tensor as the main process has it, on the device of the processes; all must call this with one shape."""
    torch.distributed.broadcast(tensor, 0)
    return tensor


def gather(value: Value) -> list[Value]:
    """What every process gave, by their ranks; all must call this."""
    if process_count() == 1:
        return [value]
    values: list[Any] = [None] * process_count()
    torch.distributed.all_gather_object(values, value)
    return values


def summed(tensor: Tensor) -> Tensor:
    """The sum of the processes' tensors, written into ``tensor``, on the device of the processes; all must call this.

    Every process then has the same bits.
    """
    torch.distributed.all_reduce(tensor)
    return tensor


def joined_rows(tensors: Sequence[Tensor]) -> list[Tensor]:
    """The rows of all processes below each other, by their ranks; all must call this.

    Args:
        tensors: [n, ...] each, of one n, which may differ between the processes.
    """
    count = torch.tensor([len(tensors[0])], device=tensors[0].device)
    counts = [torch.empty_like(count) for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather(counts, count)
    lengths = torch.cat(counts).tolist()
    found = []
    for own in tensors:
        padded = own.new_zeros(max(lengths), *own.shape[1:])
        padded[: len(own)] = own
        parts = [torch.empty_like(padded) for _ in lengths]
        torch.distributed.all_gather(parts, padded)
        found.append(torch.cat([part[:length] for part, length in zip(parts, lengths, strict=True)]))
    return found


def data_parallel(
    module: nn.Module, device: torch.device, without: Collection[str] = (), reads_all: bool = False
) -> Any:
    """A module whose gradients are the means over the processes, which begin with the main one's weights.

    Args:
        module: its ``forward`` gives the loss.
        device: of this process.
        without: names of parameters whose gradients stay as each process finds them.
        reads_all: whether every step reads every parameter; a step that does not then ends in an error.
    """
    if without:
        # the only way there is; its leading underscore keeps it out of torch's documentation, not out of use
        DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(module, list(without))  # type: ignore[no-untyped-call]
    # buffers never change: knowledge, masks. To look for unread parameters where there are none costs a walk through
    # the graph in every step, and torch warns of it
    options: dict[str, Any] = {"broadcast_buffers": False, "find_unused_parameters": not reads_all}
    if any(os.environ.get(key, "false").lower() == "true" for key in _SHARDED_LAUNCHES):  # those are for the LLM
        return DistributedDataParallel(module, [device.index] if device.type == "cuda" else None, **options)
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState
    from accelerate.utils import DistributedDataParallelKwargs

    AcceleratorState._reset_state()  # the fine-tuning of an LLM may have another precision
    handlers = [DistributedDataParallelKwargs(**options)]
    accelerator = Accelerator(cpu=device.type == "cpu", mixed_precision="no", kwargs_handlers=handlers)
    return accelerator.prepare(module)
