"""The memory in which worker processes of a loader hand over their batches."""

import shutil
from pathlib import Path

_FOLDER = Path("/dev/shm")  # Linux keeps it there; other systems have no such folder
_PREFETCHED = 2  # batches that torch lets each worker make ahead


def check_shared_memory(workers: int, batch_bytes: int, folder: Path = _FOLDER) -> None:
    """Refuse worker processes whose batches do not fit: torch would wait for them forever.

    Containers have 64 MiB of shared memory, unless they are started with more.

    Args:
        workers: how many there are; none need no shared memory.
        batch_bytes: size of a batch.
        folder: where shared memory lies.

    Raises:
        RuntimeError: says how much is free and how much is needed.
    """
    if not workers or not folder.is_dir():
        return
    needed, free = batch_bytes * (_PREFETCHED * workers + 1), shutil.disk_usage(folder).free
    if free < needed:
        raise RuntimeError(
            f"--worker={workers} passes batches through {folder}, which has {free / 2**20:,.1f} MiB free where they "
            f"take up to {needed / 2**20:,.1f}; free some (in a container: --shm-size=2g), or set --worker=0"
        )
