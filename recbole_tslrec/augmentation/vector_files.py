"""The files in which others leave item vectors: one reader for each, ``path -> tokens, rows``."""

import json
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

TOKENS = "tokens.txt"
_BLOCK = 4096  # rows that are parsed at once


class VectorsError(ValueError):
    """Item vectors cannot be read, or do not fit the dataset."""


def _read_safetensors(path: Path) -> tuple[list[str], Tensor]:
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
            shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
            tables = [name for name, shape in shapes.items() if len(shape) == 2]
            if "knowledge" not in shapes and len(tables) != 1:
                raise VectorsError(
                    f"{path} holds {len(tables)} 2-d tensors; keep one, or name the item vectors [knowledge]"
                )
            rows: Tensor = file.get_tensor("knowledge" if "knowledge" in shapes else tables[0])
    except SafetensorError as error:
        raise VectorsError(f"{path} is no safetensors file ({error}); write it again") from error
    tokens = [str(token) for token in json.loads(metadata["tokens"])] if "tokens" in metadata else tokens_beside(path)
    return tokens, rows.float()


def _read_npy(path: Path) -> tuple[list[str], Tensor]:
    try:
        # copy-on-write: float32 rows are read from the disk when they are needed, and the file never changes
        array = np.load(path, mmap_mode="c", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise VectorsError(f"{path} is no plain array ({error}); save the vectors as a float32 array [N, H]") from error
    return tokens_beside(path), _as_rows(path, array)


def _read_parquet(path: Path) -> tuple[list[str], Tensor]:
    parquet = pyarrow_parquet(path)
    import pyarrow

    try:
        table = parquet.read_table(path)
    except pyarrow.ArrowInvalid as error:
        raise VectorsError(f"{path} is no parquet file ({error}); write it again") from error
    token_column = _token_column(path, table.schema, pyarrow.types)
    tokens = table.column(token_column).to_pylist()
    if None in tokens:
        raise VectorsError(f"{path} has {tokens.count(None)} rows without a token in [{token_column}]; drop them")
    others = [field for field in table.schema if field.name != token_column]
    lists = [field.name for field in others if _is_list(field.type, pyarrow.types)]
    if len(lists) == 1:
        return list(map(str, tokens)), _rows_of_lists(path, table.column(lists[0]))
    numbers = [f.name for f in others if pyarrow.types.is_floating(f.type) or pyarrow.types.is_integer(f.type)]
    if lists or not numbers:
        raise VectorsError(
            f"{path} has {len(lists)} columns of lists and {len(numbers)} of numbers beside [{token_column}]; keep one "
            "column of lists, or columns of numbers only"
        )
    columns = [table.column(name).to_numpy().astype(np.float32) for name in numbers]
    return list(map(str, tokens)), torch.from_numpy(np.stack(columns, axis=1))


def _token_column(path: Path, schema: Any, types: Any) -> str:
    """``item_id``, or the only column of text or whole numbers."""

    def is_token(kind: Any) -> bool:
        kind = kind.value_type if types.is_dictionary(kind) else kind
        return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_integer(kind))

    candidates = [field.name for field in schema if is_token(field.type)]
    if "item_id" in candidates:
        return "item_id"
    if len(candidates) != 1:
        raise VectorsError(
            f"{path} has {len(candidates)} columns of text or whole numbers and none of them is named item_id; name "
            "the column of item tokens item_id"
        )
    return str(candidates[0])


def _is_list(kind: Any, types: Any) -> bool:
    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def _rows_of_lists(path: Path, column: Any) -> Tensor:
    """A pyarrow column of N lists -> float32 [N, H]."""
    from pyarrow import compute

    width = _one_width(path, set(compute.list_value_length(column).unique().to_pylist()))
    # by chunks: as one array, 2^31 numbers would be too many for pyarrow's offsets
    flat = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in column.chunks]
    return _as_rows(path, np.concatenate(flat).reshape(-1, width))


def _read_itememb(path: Path) -> tuple[list[str], Tensor]:
    with path.open(encoding="utf-8") as file:
        header = file.readline().rstrip("\n").split("\t")
    kinds = [field.rpartition(":")[2] for field in header]
    vector_fields = [i for i, kind in enumerate(kinds) if kind == "float_seq"]
    vector_fields = vector_fields or [i for i, kind in enumerate(kinds) if kind == "float"]
    if kinds.count("token") != 1 or kinds.count("float_seq") > 1 or not vector_fields:
        raise VectorsError(
            f"{path} has the header {header}; it must name one token field and one float_seq field (or float fields), "
            "separated by tabs, such as item_id:token and item_emb:float_seq"
        )
    tokens: list[str] = []
    blocks = []
    # by blocks: the text of a vector takes several times the memory of its numbers
    for block in pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False, chunksize=_BLOCK):
        tokens.extend(block.iloc[:, kinds.index("token")])
        vectors = block.iloc[:, vector_fields].fillna("")  # a row may lack its last fields
        texts = [" ".join(row) for row in vectors.itertuples(index=False)]
        blocks.append(_parse_rows(path, texts))
    _one_width(path, {block.shape[1] for block in blocks})
    return tokens, torch.from_numpy(np.concatenate(blocks))


def _parse_rows(path: Path, texts: Sequence[str]) -> "np.ndarray[Any, Any]":
    """Numbers separated by spaces -> float32 [n, H]."""
    try:
        rows = [np.fromiter(map(float, text.split()), dtype=np.float32) for text in texts]
    except ValueError as error:
        raise VectorsError(f"{path} has a vector that is no list of numbers ({error}); write it again") from error
    _one_width(path, {len(row) for row in rows})
    return np.stack(rows)


def _one_width(path: Path, widths: Collection[int | None]) -> int:
    """The length that all vectors share; ``None`` is that of a missing one."""
    if not widths:
        raise VectorsError(f"{path} holds no vectors; check what wrote it")
    only = next(iter(widths))
    if len(widths) > 1 or only is None:
        found = ", ".join(sorted(map(str, widths))[:5])
        raise VectorsError(f"{path} has vectors of several widths ({found}); give every item one of the same width")
    return only


def _as_rows(path: Path, array: "np.ndarray[Any, Any]") -> Tensor:
    """An array of numbers as float32."""
    if array.dtype.kind not in "fiu":
        raise VectorsError(f"{path} holds values of type {array.dtype}; save the vectors as float32")
    return torch.from_numpy(array.astype(np.float32, copy=False))


def tokens_beside(path: Path) -> list[str]:
    """The lines of ``tokens.txt`` in the folder of ``path``; a ``VectorsError`` if there is none."""
    tokens = path.with_name(TOKENS)
    if not tokens.is_file():
        raise VectorsError(f"{tokens} is missing; write the item token of each row of {path.name} there, one a line")
    return tokens.read_text(encoding="utf-8-sig").removesuffix("\n").split("\n")


def pyarrow_parquet(path: Path) -> Any:
    """The module ``pyarrow.parquet``; an ``ImportError`` for ``path`` says how to install it."""
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise ImportError(
            f"{path} needs pyarrow; install it with: pip install 'recbole_tslrec[serving]', or save the vectors as .npy"
        ) from error
    return parquet


READERS: dict[str, Callable[[Path], tuple[list[str], Tensor]]] = {
    ".safetensors": _read_safetensors,
    ".npy": _read_npy,
    ".parquet": _read_parquet,
    ".itememb": _read_itememb,
}
