"""A safetensors file that is written and read row by row: memory does not grow with it.

The library writes a file whole, from tensors that are whole in memory, and its reader maps the file into memory. The
format is simple: the length of a JSON header (8 bytes, little endian), the header, the data.
"""

import json
import math
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

_DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


class TensorFile:
    """The tensors of a safetensors file, by rows.

    Args:
        path: an existing file.

    Attributes:
        shapes: by name.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header: dict[str, Any] = json.loads(file.read(length))
        header.pop("__metadata__", None)
        self.shapes = {name: tuple(entry["shape"]) for name, entry in header.items()}
        self._dtypes = {name: _DTYPES.get(entry["dtype"]) for name, entry in header.items()}
        self._starts = {name: 8 + length + entry["data_offsets"][0] for name, entry in header.items()}

    @classmethod
    def create(cls, path: Path, shapes: Mapping[str, tuple[int, ...]]) -> "TensorFile":
        """Make a file for float32 tensors; their rows are zero until they are written.

        Args:
            path: where.
            shapes: by name.

        Raises:
            OSError: the disk has no room for it.
        """
        header, end = {}, 0
        for name, shape in shapes.items():
            start, end = end, end + 4 * math.prod(shape)
            header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [start, end]}
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        needed, free = 8 + len(text) + end, shutil.disk_usage(path.parent).free
        if needed > free:
            raise OSError(
                f"{path} needs {needed / 2**30:.2f} GiB, its disk has {free / 2**30:.2f} GiB free; free some, or "
                "choose another artifacts_dir"
            )
        temporary = path.with_name(f"{path.name}.tmp")
        with temporary.open("wb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            file.truncate(needed)
        os.replace(temporary, path)
        return cls(path)

    def read_rows(self, name: str, start: int, stop: int) -> Tensor:
        """The rows start..stop of a tensor."""
        dtype, shape = self._dtypes[name], self.shapes[name]
        if dtype is None:
            raise ValueError(f"{self.path}: [{name}] is of a type that is not read by rows")
        row = dtype.itemsize * math.prod(shape[1:])
        with self.path.open("rb") as file:
            file.seek(self._starts[name] + start * row)
            data = bytearray(file.read((stop - start) * row))
        return torch.frombuffer(data, dtype=dtype).view(stop - start, *shape[1:])

    def write_rows(self, name: str, start: int, rows: Tensor) -> None:
        """Put float32 rows into a tensor, the first at ``start``. Several processes may write different rows."""
        row = 4 * math.prod(self.shapes[name][1:])
        with self.path.open("r+b") as file:
            file.seek(self._starts[name] + start * row)
            file.write(rows.numpy().tobytes())

    def sync(self) -> None:
        """Wait until what was written is on the disk."""
        with self.path.open("r+b") as file:
            os.fsync(file.fileno())
