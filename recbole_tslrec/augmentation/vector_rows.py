"""Tokens and numbers as they stand in files of item vectors, as text and float32 rows."""

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recbole_tslrec.data.content import open_text

TOKENS = "tokens.txt"
TokensAndRows = tuple[list[str], Tensor]  # N external item tokens, and float32 [N, H]


class VectorsError(ValueError):
    """Item vectors cannot be read, or do not fit the dataset."""


def tokens_beside(path: Path) -> list[str]:
    """The lines of ``tokens.txt`` in the folder of ``path``; a ``VectorsError`` if there is none."""
    tokens = path.with_name(TOKENS)
    if not tokens.is_file():
        raise VectorsError(f"{tokens} is missing; write the item token of each row of {path.name} there, one a line")
    with open_text(tokens) as file:
        lines = [line.rstrip("\n") for line in file]
    while lines and not lines[-1].strip():  # empty lines at the end
        lines.pop()
    return lines


def as_tokens(path: Path, values: Sequence[Any], where: str) -> list[str]:
    """Values as item tokens: text as it is, whole numbers as decimals, those too that pandas made floats of.

    Args:
        path: where they were read, for messages.
        values: text, bytes or numbers.
        where: what they are there.

    Raises:
        VectorsError: one is missing, or a number that is not whole.
    """
    missing = [row for row, value in enumerate(values, start=1) if value is None or value == "" or value != value]
    if missing:
        raise VectorsError(
            f"{path} has {len(missing)} rows without a token in {where}, the first is row {missing[0]}; drop them"
        )
    broken = [value for value in values if isinstance(value, float) and not value.is_integer()]
    if broken:
        raise VectorsError(f"{path}, {where} holds {broken[0]}, which is no item token; write tokens as text")
    return [_as_token(value) for value in values]


def _as_token(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode()
    return str(int(value)) if isinstance(value, float) else str(value)


def count_rows(values: Sequence[Any]) -> bool:
    """Whether whole numbers merely count the rows, from 0."""
    return list(values) == list(range(len(values)))


def as_rows(path: Path, array: "np.ndarray[Any, Any]") -> Tensor:
    """An array of numbers as float32."""
    if array.dtype.kind not in "fiu":
        raise VectorsError(f"{path} holds values of type {array.dtype}; save the vectors as float32")
    return torch.from_numpy(array.astype(np.float32, copy=False))


def parse_rows(path: Path, texts: Iterable[str]) -> "np.ndarray[Any, Any]":
    """Numbers separated by blanks -> float32 [n, H]."""
    try:
        rows = [np.fromiter(map(float, text.split()), dtype=np.float32) for text in texts]
    except ValueError as error:
        raise VectorsError(f"{path} has a vector that is no list of numbers ({error}); write it again") from error
    one_width(path, {len(row) for row in rows})
    return np.stack(rows)


def one_width(path: Path, widths: Collection[int | None]) -> int:
    """The length that all vectors share; ``None`` is that of a missing one."""
    if not widths:
        raise VectorsError(f"{path} holds no vectors; check what wrote it")
    only = next(iter(widths))
    if len(widths) > 1 or not only:
        found = ", ".join(sorted(map(str, widths))[:5])
        raise VectorsError(f"{path} has vectors of several widths ({found}); give every item one of the same width")
    return only
