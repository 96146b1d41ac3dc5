"""Arrays in files of numpy that all processes map, so that they share one copy in memory; texts among them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

_MAPPED_FROM = 1 << 16  # bytes; smaller files are read, since a mapping takes whole pages and a file handle


def write_array(path: Path, array: NDArray[Any]) -> None:
    """Write an array of numbers.

    It goes through ``write``, never through a writable mapping, which on a full disk ends the process.

    Raises:
        OSError: it could not be written, e.g. since the disk is full.
    """
    array = np.ascontiguousarray(array)
    with path.open("wb") as file:
        numpy_format: Any = np.lib.format
        numpy_format.write_array_header_1_0(file, numpy_format.header_data_from_array_1_0(array))
        file.write(array.data)


def map_array(path: Path) -> NDArray[Any]:
    """An array of :func:`write_array`, mapped; what is written into it stays in the process (copy on write).

    Raises:
        ValueError: the file is no such array, or shorter than it says.
        OSError: it cannot be read.
    """
    if path.stat().st_size < _MAPPED_FROM:
        read: NDArray[Any] = np.load(path, allow_pickle=False)
        return read
    return np.asarray(np.load(path, mmap_mode="c", allow_pickle=False))


def write_tokens(folder: Path, name: str, tokens: Sequence[str]) -> None:
    """Write texts as the bytes of all of them and where each begins: as much as they hold, however long the longest."""
    array = pa.array(tokens, pa.large_string())
    offsets, text = (
        np.frombuffer(buffer or b"", kind) for buffer, kind in zip(array.buffers()[1:], _KINDS, strict=True)
    )
    write_array(folder / f"{name}.offsets.npy", offsets[: len(tokens) + 1])
    write_array(folder / f"{name}.text.npy", text[: offsets[len(tokens)]])


def read_tokens(folder: Path, name: str) -> NDArray[np.object_]:
    """The texts of :func:`write_tokens`, as objects.

    Raises:
        ValueError: the files do not go together.
        OSError: one cannot be read.
    """
    offsets, text = map_array(folder / f"{name}.offsets.npy"), map_array(folder / f"{name}.text.npy")
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(text)]
    array = pa.LargeStringArray.from_buffers(len(offsets) - 1, buffers[1], buffers[2])
    array.validate(full=True)
    tokens: NDArray[np.object_] = array.to_numpy(zero_copy_only=False)
    return tokens


_KINDS = (np.int64, np.uint8)  # of offsets and of bytes
