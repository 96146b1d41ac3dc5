"""The files in which others leave item vectors, known by their content and never unpickled."""

import json
import math
import zlib
from collections.abc import Callable
from logging import getLogger
from pathlib import Path
from tokenize import TokenError
from typing import Any
from zipfile import BadZipFile, ZipFile

import numpy as np
from safetensors import SafetensorError, safe_open
from torch import Tensor

from recbole_tslrec.augmentation.vector_rows import (
    TOKENS,
    TokensAndRows,
    VectorsError,
    as_rows,
    as_tokens,
    count_rows,
    tokens_beside,
)
from recbole_tslrec.augmentation.vector_tables import ITEM, tokens_and_rows
from recbole_tslrec.augmentation.vector_texts import read_text
from recbole_tslrec.data.columnar import COLUMNAR, read_table
from recbole_tslrec.data.content import SourceError, check_unpacked, kind_of, not_readable

# what opens by hand a file that can run any program as it is opened
_BY_HAND = {
    "torch": "import pandas, torch; v = torch.load({path!r}, weights_only=True, map_location='cpu')",
    "pickle": "import pandas; v = pandas.read_pickle({path!r})",
    "HDF5": "import pandas, h5py; v = h5py.File({path!r})['NAME'][:]",
}
_SAFETENSORS = "safetensors"
# what numpy raises of a header that does not fit its file, or of an archive that is damaged inside
_NO_ARRAY = (ValueError, EOFError, MemoryError, OverflowError, SyntaxError, TokenError, BadZipFile, zlib.error)


def read_file(path: Path) -> TokensAndRows:
    """Item vectors from a file of any kind that is read.

    Raises:
        VectorsError: as :func:`check_kind`; the file is damaged, or it is not clear what in it is what.
    """
    kind = check_kind(path)
    try:
        return _READERS[kind](path)
    except SourceError as error:
        raise VectorsError(str(error)) from error


def check_kind(path: Path) -> str:
    """What kind of file it is, by its first bytes.

    Raises:
        VectorsError: it is not there, or of a kind that is not read; says how to convert it.
    """
    try:
        kind = _SAFETENSORS if _is_safetensors(path) else kind_of(path)
        if kind in _READERS:
            return kind
        if kind == "pickle" and path.suffix in (".pt", ".pth", ".bin"):  # as torch wrote before 1.6
            kind = "torch"
        raise _not_opened(path, kind) if kind in _BY_HAND else not_readable(path, kind)
    except SourceError as error:
        raise VectorsError(str(error)) from error


def has_own_tokens(path: Path, kind: str) -> bool:
    """Whether a file of a kind names the items of its rows itself, as far as one sees without reading it."""
    if kind == _SAFETENSORS:
        return "tokens" in _open_safetensors(path)[0]
    return kind != "numpy"


def _not_opened(path: Path, kind: str) -> VectorsError:
    why = (
        "has no one form for item vectors" if kind == "HDF5" else "can run any program when it is opened, so it is not"
    )
    beside = path.with_name(TOKENS)
    tokens = f"open({str(beside)!r}, encoding='utf-8').read().splitlines()" if beside.is_file() else "tokens"
    return VectorsError(
        f"{path} is a {kind} file, which {why}; convert it where you trust it:\n"
        f"    {_BY_HAND[kind].format(path=str(path))}  # {{token: vector}}; of an array: v = dict(zip({tokens}, v))\n"
        "    pandas.DataFrame({'item_id': list(v), 'vector': [list(map(float, it)) for it in v.values()]})"
        f".to_parquet({str(path.with_suffix('.parquet'))!r})"
    )


def _is_safetensors(path: Path) -> bool:
    """Whether a file begins with the length of a JSON object and the object."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(9)
    return head[8:] == b"{" and 2 <= int.from_bytes(head[:8], "little") <= path.stat().st_size - 8


def _open_safetensors(path: Path) -> tuple[dict[str, str], Any]:
    try:
        file: Any = safe_open(str(path), framework="pt")
    except SafetensorError as error:
        raise VectorsError(f"{path} is no whole safetensors file ({error}); write it again") from error
    return file.metadata() or {}, file


def _read_safetensors(path: Path) -> TokensAndRows:
    metadata, file = _open_safetensors(path)
    tables = [name for name in file.keys() if len(file.get_slice(name).get_shape()) == 2]  # noqa: SIM118
    if "knowledge" not in file.keys() and len(tables) != 1:  # noqa: SIM118
        raise VectorsError(f"{path} holds {len(tables)} 2-d tensors; keep one, or name the item vectors [knowledge]")
    rows: Tensor = file.get_tensor("knowledge" if "knowledge" in file.keys() else tables[0])  # noqa: SIM118
    return _tokens_in(path, metadata["tokens"]) if "tokens" in metadata else tokens_beside(path), rows.float()


def _tokens_in(path: Path, text: str) -> list[str]:
    try:
        tokens = json.loads(text)
    except (ValueError, RecursionError):
        tokens = None
    if not isinstance(tokens, list) or any(isinstance(token, list | dict) for token in tokens):
        raise VectorsError(f"{path} has [tokens] in its metadata that are no JSON list; write json.dumps(tokens) there")
    return as_tokens(path, tokens, "its metadata")


def _read_npy(path: Path) -> TokensAndRows:
    try:
        _check_length(path)
        # copy-on-write: float32 rows are read from the disk when they are needed, and the file never changes
        array = np.load(path, mmap_mode="c", allow_pickle=False)
    except _NO_ARRAY as error:
        raise VectorsError(f"{path} is no plain array ({error}); save the vectors as a float32 array [N, H]") from error
    return tokens_beside(path), as_rows(path, array)


def _check_length(path: Path) -> None:
    """Compare an array's length with its file's; numpy multiplies a shape in integers that overflow.

    Raises:
        ValueError: the header is damaged, or names more numbers than there are.
    """
    numpy_format: Any = np.lib.format  # untyped
    with path.open("rb") as file:
        version = numpy_format.read_magic(file)
        if version not in _READ_HEADER:
            raise ValueError(f"its format is {version}, that of columns with names")
        shape, _, dtype = _READ_HEADER[version](file)
        needed, there = math.prod(shape) * dtype.itemsize, path.stat().st_size - file.tell()
    if needed > there:
        raise ValueError(f"its header speaks of {needed:,} bytes, and {there:,} follow")


_READ_HEADER: dict[tuple[int, int], Callable[[Any], Any]] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def _read_npz(path: Path) -> TokensAndRows:
    with ZipFile(path) as archive:
        check_unpacked(path, path.stat().st_size, sum(member.file_size for member in archive.infolist()))
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except _NO_ARRAY as error:
        raise VectorsError(
            f"{path} holds other things than plain arrays or is damaged ({error}); save text as numpy.array(..., str), "
            "or write it again"
        ) from error
    tables = [name for name, array in arrays.items() if array.ndim == 2]
    if len(tables) != 1:
        raise VectorsError(
            f"{path} holds {len(tables)} 2-d arrays; keep one, and the item tokens as a 1-d array {ITEM}"
        )
    rows = as_rows(path, arrays.pop(tables[0]))
    lists = {name: array for name, array in arrays.items() if array.ndim == 1 and len(array) == len(rows)}
    name = ITEM if ITEM in lists else next(iter(lists), "")
    if not lists:
        return tokens_beside(path), rows
    if name != ITEM and (len(lists) > 1 or count_rows(lists[name].tolist())):
        raise VectorsError(
            f"{path} holds no array of item tokens that is named {ITEM}, but {', '.join(lists)}; name it so"
        )
    getLogger().info(f"{path}: {len(rows):,} vectors of width {rows.shape[1]} from [{tables[0]}], tokens from [{name}]")
    return as_tokens(path, lists[name].tolist(), f"array [{name}]"), rows


def _read_columnar(kind: str) -> Callable[[Path], TokensAndRows]:
    return lambda path: tokens_and_rows(path, read_table(path, kind))


_READERS: dict[str, Callable[[Path], TokensAndRows]] = {
    _SAFETENSORS: _read_safetensors,
    "numpy": _read_npy,
    "npz": _read_npz,
    **{kind: _read_columnar(kind) for kind in COLUMNAR},
    **dict.fromkeys(("text", "gzip", "bz2", "xz", "zstd", "zip"), read_text),  # of text; what else is packed is said
}
