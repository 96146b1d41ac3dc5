"""Files that are whole or not there: written under another name, then renamed; and the hashes of their contents."""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor


def write_json(path: Path, value: Any) -> None:
    """Write JSON under another name and rename it."""
    temporary = beside(path, "tmp")
    temporary.write_text(json.dumps(value, indent=1, ensure_ascii=False, default=str), encoding="utf-8")
    os.replace(temporary, path)


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write safetensors under another name and rename it; a tensor under two names is written twice.

    Raises:
        OSError: the file could not be written, e.g. since the disk is full.
    """
    temporary = beside(path, "tmp")
    try:
        save_file(_apart(tensors), str(temporary), dict(metadata) if metadata else None)
    except (OSError, SafetensorError) as error:
        temporary.unlink(missing_ok=True)
        raise OSError(f"{path} could not be written ({error}); free disk space, then run again") from error
    os.replace(temporary, path)


def _apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors on the CPU, none in the memory of another: GRU4RecCPR and FEARec have modules under two names."""
    apart: dict[int, str] = {}
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        tensor = tensor.detach().cpu().contiguous()
        is_first = apart.setdefault(tensor.untyped_storage().data_ptr(), name) == name
        found[name] = tensor if is_first else tensor.clone()
    return found


def replace_folder(new: Path, folder: Path) -> None:
    """Put a finished folder into the place of ``folder``; the former one goes only when the new one is there."""
    previous = beside(folder, "previous")
    if folder.exists():
        shutil.rmtree(previous, ignore_errors=True)
        folder.rename(previous)
    new.rename(folder)
    shutil.rmtree(previous, ignore_errors=True)


def restore_folder(folder: Path) -> None:
    """Put the former folder back where :func:`replace_folder` was interrupted between its two renames."""
    previous = beside(folder, "previous")
    if previous.exists() and not folder.exists():
        previous.rename(folder)


def beside(path: Path, suffix: str) -> Path:
    """``path`` with another ending, in the same folder, so that renaming one to the other is atomic."""
    return path.with_name(f"{path.name}.{suffix}")


def hash_file(path: Path, kind: str = "sha256") -> str:
    """The SHA-256 of a file's contents, or another hash of :mod:`hashlib`."""
    digest = hashlib.new(kind, usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def hash_text(text: str) -> str:
    """The SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def hash_arrays(*arrays: "np.ndarray[Any, Any]") -> str:
    """One hash over arrays and their types."""
    digest = hashlib.sha256()
    for array in arrays:
        array = np.ascontiguousarray(array)
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
