"""Files that are whole or not there: written under another name, then renamed; and the hashes of their contents."""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

_ROWS = 1 << 14  # texts that are hashed at once
SEAL = "hashes.json"  # of what an interrupted attempt goes on with


def read_json(path: Path) -> Any:
    """What a file of JSON holds.

    Raises:
        ValueError: it is no JSON, or nested more deeply than can be followed.
        OSError: it cannot be read.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError("lists or objects are nested too deeply") from None


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


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A name to write a file under, which becomes ``path`` at the end, and is deleted after an error.

    Raises:
        OSError: the disk is full.
    """
    temporary = beside(path, f"{os.getpid()}.tmp")  # another process may write to the same place
    try:
        with room_for(path):
            yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def room_for(path: Path) -> Iterator[None]:
    """Say of a full disk which file or folder was to be written, and what to do.

    Raises:
        OSError: the disk is full.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise OSError(
            error.errno,
            f"no room for {path} on its disk; free some, then run the same command: finished stages are reused",
        ) from error


def replace_folder(new: Path, folder: Path) -> None:
    """Put a finished folder into the place of ``folder``; the former one goes only when the new one is on the disk."""
    _sync(new)
    if folder.exists():
        _discard_previous(folder)
        folder.rename(beside(folder, "previous"))
    new.rename(folder)
    _sync_entries(folder.parent)
    _discard_previous(folder)


def share(folder: Path) -> None:
    """Let those read a folder's files who may read any new file; safetensors are written for their owner alone."""
    fresh = folder / "fresh.tmp"
    fresh.touch()
    mode = fresh.stat().st_mode
    fresh.unlink()
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(mode)


def settle_folder(folder: Path) -> None:
    """After an interrupted :func:`replace_folder`: the former folder where the new one was not yet there."""
    previous = beside(folder, "previous")
    if previous.exists() and not folder.exists():
        previous.rename(folder)
    _discard_previous(folder)


def is_settled(folder: Path) -> bool:
    """Whether no interrupted :func:`replace_folder` has left anything."""
    return not any(beside(folder, suffix).exists() for suffix in ("previous", "discarded"))


def _discard_previous(folder: Path) -> None:
    """Delete the former folder under another name: half of it must not be taken for a whole one."""
    previous, discarded = beside(folder, "previous"), beside(folder, "discarded")
    shutil.rmtree(discarded, ignore_errors=True)
    if previous.exists():
        previous.rename(discarded)
        shutil.rmtree(discarded, ignore_errors=True)


def _sync(folder: Path) -> None:
    """Wait until all files of a folder are on the disk, with their names."""
    for path in [*folder.rglob("*"), folder]:
        if path.is_dir():
            _sync_entries(path)
        else:
            with path.open("r+b") as file:
                os.fsync(file.fileno())


def _sync_entries(folder: Path) -> None:
    """Wait until the names of a folder's files are on the disk, where the system can say so."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def link_folder(source: Path, target: Path) -> None:
    """The files of a folder under a second name too; copies, where the file system has no such links."""
    shutil.copytree(source, target, copy_function=link_file)


def link_file(source: str | Path, target: str | Path) -> None:
    """A file under a second name too; a copy, where the file system has no such links."""
    Path(target).unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def seal_folder(folder: Path) -> None:
    """Write the hashes of a folder's files beside them."""
    write_json(folder / SEAL, hash_files(folder))


def is_whole(folder: Path) -> bool:
    """Whether a folder holds what :func:`seal_folder` has found in it, bit by bit."""
    try:
        hashes = read_json(folder / SEAL)
    except (OSError, ValueError):
        return False
    return bool(hashes == hash_files(folder, without=SEAL))


def hash_files(folder: Path, without: str | None = None) -> dict[str, str]:
    """The SHA-256 of each file below a folder, by its path from there; but for one file or sub-folder of the folder."""
    files = {path.relative_to(folder): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return {name.as_posix(): hash_file(path) for name, path in files.items() if name.parts[0] != without}


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
    """One hash over arrays and their types.

    An array of objects holds texts; its hash is that of an array of numpy's texts, each as wide as the longest. That
    is never made as a whole: one long id would make it many times larger than its texts.
    """
    digest = hashlib.sha256()
    for array in arrays:
        if array.dtype == object:
            kind = np.dtype(f"U{max(map(len, array), default=0) or 1}")
            starts = range(0, len(array), _ROWS)
        else:
            array = np.ascontiguousarray(array)
            kind, starts = array.dtype, range(1)
        digest.update(f"{kind.str}{array.shape}".encode())
        for start in starts:
            piece = array[start : start + _ROWS].astype(kind) if array.dtype == object else array
            digest.update(piece.tobytes())
    return digest.hexdigest()
