"""Where a result comes from, for manifests: versions, commit, memory."""

import functools
import platform
import resource
import subprocess
from importlib import metadata
from pathlib import Path

import torch

from recbole_tslrec.version import __version__

LIBRARIES = ("recbole", "torch", "numpy", "scikit-learn", "transformers", "peft", "safetensors")


@functools.cache
def versions() -> dict[str, str]:
    """The versions of Python, this package and the libraries that decide its results."""
    found = {"python": platform.python_version(), "recbole_tslrec": __version__}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


@functools.cache
def git_commit() -> str | None:
    """The last commit that changed this package, where it runs from a git checkout."""
    package = Path(__file__).resolve().parents[1]
    command = ["git", "-C", str(package), "log", "-1", "--format=%H", "--", str(package)]
    try:
        finished = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return finished.stdout.strip() or None


def peak_memory(device: str) -> int:
    """Bytes: the most that this process has held so far, on the GPU if it uses one, else in main memory."""
    if device.startswith("cuda"):
        return int(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
