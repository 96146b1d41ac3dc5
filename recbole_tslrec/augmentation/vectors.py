"""Item vectors from any source: an export of this package, or a file that somebody else's encoder has left."""

import json
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from recbole_tslrec.artifacts import Artifact, hash_file, open_artifact

TOKENS = "tokens.txt"
_BLOCK = 4096  # rows that are looked at or parsed at once


class VectorsError(ValueError):
    """A file of item vectors cannot be read, or does not fit the dataset."""


@dataclass(frozen=True)
class ItemVectors:
    """Vectors and whose they are.

    Attributes:
        tokens: N external item tokens, no two alike.
        rows: float32 [N, H], finite.
        source: where they were read.
    """

    tokens: list[str]
    rows: Tensor
    source: Path


def read_vectors(path: str | Path) -> ItemVectors:
    """Read item vectors; whole numbers as tokens become their decimal strings.

    Args:
        path: a ``knowledge`` artifact; a ``.safetensors`` file (its only 2-d tensor, or the one named ``knowledge``;
            tokens as a JSON list in its metadata, or in ``tokens.txt`` beside it, one a line); a ``.npy`` file
            [N, H] with ``tokens.txt``; a ``.parquet`` file (a column of tokens, named ``item_id`` or the only one of
            text or whole numbers; a column of lists, or the remaining columns of numbers); or RecBole's atomic file
            ``.itememb`` (a ``token`` field and a ``float_seq`` field, or ``float`` fields).

    Raises:
        VectorsError: no such file or an unknown one, tokens are missing, too few or given twice, or the vectors are
            ragged, not 2-d or not finite; says which file and what to do.
        ArtifactError: the artifact is damaged or of another kind.
        ImportError: a ``.parquet`` file without pyarrow.
    """
    path = check_vectors_path(path)
    tokens, rows = _read_artifact(path) if path.is_dir() else READERS[path.suffix](path)
    _check(path, tokens, rows)
    return ItemVectors(list(tokens), rows, path)


def check_vectors_path(path: str | Path) -> Path:
    """Refuse what :func:`read_vectors` could not even open.

    Raises:
        VectorsError: there is no such file or folder, its ending is unknown, or ``tokens.txt`` is missing.
        ImportError: a ``.parquet`` file without pyarrow.
    """
    path = Path(path)
    if path.is_dir():
        return path
    if path.suffix not in READERS:
        raise VectorsError(
            f"{path} is neither a folder nor a file ending in {', '.join(READERS)}; give a knowledge artifact or "
            "vectors in one of these formats"
        )
    if not path.is_file():
        raise VectorsError(f"{path} does not exist; check knowledge_path")
    if path.suffix == ".npy":
        _tokens_beside(path)
    if path.suffix == ".parquet":
        _pyarrow_parquet(path)
    return path


def open_vectors(path: str | Path) -> Artifact:
    """A knowledge artifact, or a file of vectors as if it were one: its contents decide what is found again.

    Raises:
        VectorsError: as :func:`check_vectors_path`.
        ArtifactError: as :func:`recbole_tslrec.artifacts.open_artifact`.
    """
    path = check_vectors_path(path)
    if path.is_dir():
        return open_artifact(path, "knowledge")
    files = {"vectors": path, TOKENS: path.with_name(TOKENS)}
    hashes = {name: hash_file(file) for name, file in files.items() if file.is_file()}
    return Artifact(path, {"files": hashes, "seconds": 0.0})


def _read_artifact(folder: Path) -> tuple[list[str], Tensor]:
    artifact = open_artifact(folder, "knowledge")
    return artifact.item_tokens(), artifact.tensors()["knowledge"].float()


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
    tokens = [str(token) for token in json.loads(metadata["tokens"])] if "tokens" in metadata else _tokens_beside(path)
    return tokens, rows.float()


def _read_npy(path: Path) -> tuple[list[str], Tensor]:
    try:
        # copy-on-write: float32 rows are read from the disk when they are needed, and the file never changes
        array = np.load(path, mmap_mode="c", allow_pickle=False)
    except ValueError as error:
        raise VectorsError(f"{path} is no plain array ({error}); save the vectors as a float32 array [N, H]") from error
    return _tokens_beside(path), _as_rows(path, array)


def _read_parquet(path: Path) -> tuple[list[str], Tensor]:
    parquet = _pyarrow_parquet(path)
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
        tokens += block.iloc[:, kinds.index("token")]
        texts = [" ".join(row) for row in block.iloc[:, vector_fields].itertuples(index=False)]
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


def _tokens_beside(path: Path) -> list[str]:
    """The lines of ``tokens.txt`` in the folder of ``path``."""
    tokens = path.with_name(TOKENS)
    if not tokens.is_file():
        raise VectorsError(f"{tokens} is missing; write the item token of each row of {path.name} there, one a line")
    return tokens.read_text(encoding="utf-8-sig").removesuffix("\n").split("\n")


def _pyarrow_parquet(path: Path) -> Any:
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise ImportError(
            f"{path} needs pyarrow; install it with: pip install 'recbole_tslrec[serving]', or save the vectors as .npy"
        ) from error
    return parquet


def _check(path: Path, tokens: Sequence[str], rows: Tensor) -> None:
    """Refuse what would train on the wrong vectors."""
    if rows.dim() != 2:
        raise VectorsError(f"{path} holds an array of shape {tuple(rows.shape)}; item vectors are 2-d, [items, width]")
    if len(tokens) != len(rows):
        raise VectorsError(f"{path} has {len(rows)} rows but {len(tokens)} item tokens; give one token for each row")
    twice = [token for token, count in Counter(tokens).items() if count > 1]
    if twice:
        raise VectorsError(f"{path} has {len(twice)} item tokens more than once, the first is {twice[0]!r}; keep one")
    finite = torch.cat([block.isfinite().all(dim=1) for block in torch.split(rows, _BLOCK)])
    if not finite.all():
        first = tokens[int((~finite).nonzero()[0])]
        raise VectorsError(
            f"{path} has {int((~finite).sum())} vectors that are not finite, the first is of item {first!r}; compute "
            "them again, in float32 if they were in half precision"
        )


READERS: dict[str, Callable[[Path], tuple[list[str], Tensor]]] = {
    ".safetensors": _read_safetensors,
    ".npy": _read_npy,
    ".parquet": _read_parquet,
    ".itememb": _read_itememb,
}
