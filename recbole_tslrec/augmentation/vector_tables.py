"""Tables of item vectors: which column holds the items' tokens, and which the numbers."""

import json
import re
from collections import Counter
from collections.abc import Sequence
from logging import getLogger
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
import torch
from torch import Tensor

from recbole_tslrec.augmentation.vector_rows import (
    TokensAndRows,
    VectorsError,
    as_rows,
    as_tokens,
    count_rows,
    one_width,
    parse_rows,
)
from recbole_tslrec.data.delimited import is_number

ITEM = "item_id"
# what pandas calls an index that has no name, as it writes it and as it reads it again
_UNNAMED_INDEX = re.compile(r"|index|level_\d+|__index_level_\d+__|Unnamed: \d+")
_NUMBERED = re.compile(r"(.*?)(\d+)")
_SHOWN = 5  # names in a message


def tokens_and_rows(path: Path, table: pa.Table) -> TokensAndRows:
    """The item tokens and vectors of a table; logs which columns they are.

    The tokens are the column ``item_id``, or the only one of text or of whole numbers that do more than count the rows.
    The vectors are the only column of lists, or those of numbers; where there are columns with one name and numbers
    from 0 or 1 behind it (``d0``, ``d1``, ...), no others. The index of a pandas table is never a vector.

    Args:
        path: where the table was read, for messages.
        table: a row for each item.

    Raises:
        VectorsError: it is not clear which columns they are, or a row has no token.
    """
    if not len(table):
        raise VectorsError(f"{path} holds no vectors; check what wrote it")
    twice = [name for name, count in Counter(table.column_names).items() if count > 1]
    if twice:
        raise VectorsError(f"{path} has more than one column [{twice[0]}]; give each a name of its own")
    index = _index(table)
    _check_numbered(path, table, index)
    alike = numbered([field.name for field in table.schema if _is_number(field) and field.name not in index])
    counting = [
        field.name
        for field in table.schema
        if _is_whole(field) and field.name not in alike and count_rows(table.column(field.name).to_pylist())
    ]
    token = _token_column(path, table.schema, index, alike, counting)
    names = [name for name in table.column_names if name not in (token, *index, *counting)]
    taken, rows = _vectors(path, table.select(names), alike)
    left_out = [name for name in table.column_names if name not in (token, *taken)]
    form = ", written as 123.0" if pa.types.is_floating(table.schema.field(token).type) else ""
    getLogger().info(
        f"{path}: {len(rows):,} vectors of width {rows.shape[1]} from {listed(taken)}, tokens from {listed([token])}"
        + form
        + (f"; left out: {listed(left_out)}" if left_out else "")
    )
    return as_tokens(path, table.column(token).to_pylist(), f"column [{token}]"), rows


def _index(table: pa.Table) -> list[str]:
    """The columns that were the index of a pandas table."""
    metadata = json.loads((table.schema.metadata or {}).get(b"pandas", b"{}"))
    said = [name for name in metadata.get("index_columns", []) if isinstance(name, str)]
    return [name for name in table.column_names if name in said or _UNNAMED_INDEX.fullmatch(name)]


def _check_numbered(path: Path, table: pa.Table, index: Sequence[str]) -> None:
    """Refuse numbered columns of which some hold text, unless others hold the numbers: a part of a vector is none.

    Raises:
        VectorsError: names the first that holds text.
    """
    texts = {field.name for field in table.schema if _is_text(field)}
    all_numbered = numbered([name for name in table.column_names if name not in index])
    kinds: dict[str, set[bool]] = {}  # of each name before its numbers: whether columns are text
    for name in all_numbered:
        kinds.setdefault(_stem(name), set()).add(name in texts)
    mixed = [name for name in all_numbered if len(kinds[_stem(name)]) > 1 and name in texts]
    if mixed and {False} not in kinds.values():
        value = next((value for value in table.column(mixed[0]).to_pylist() if not is_number(str(value))), "")
        raise VectorsError(
            f"{path} has text in column [{mixed[0]}], such as [{value}], and numbers in others of its kind; write "
            "all as numbers with a decimal point, or give the column a name without a number"
        )


def _stem(name: str) -> str:
    return re.sub(r"\d+$", "", name)


def numbered(names: Sequence[str]) -> list[str]:
    """Those of columns that have one name with numbers behind it, from 0 or 1, each once."""
    alike: dict[str, list[tuple[int, str]]] = {}
    for name in names:
        if match := _NUMBERED.fullmatch(name):
            alike.setdefault(match[1], []).append((int(match[2]), name))
    found: set[str] = set()
    for group in alike.values():
        numbers = sorted(number for number, _ in group)
        if len(group) > 1 and numbers[0] in (0, 1) and numbers == list(range(numbers[0], numbers[0] + len(group))):
            found.update(name for _, name in group)
    return [name for name in names if name in found]


def _token_column(
    path: Path, schema: pa.Schema, index: Sequence[str], alike: Sequence[str], counting: Sequence[str]
) -> str:
    if ITEM in schema.names:
        return ITEM
    no_token = {*alike, *counting, *(name for name in index if _UNNAMED_INDEX.fullmatch(name))}
    candidates = [
        field.name for field in schema if _is_text(field) or (_is_whole(field) and field.name not in no_token)
    ]
    if len(candidates) == 1:
        return str(candidates[0])
    if not candidates:
        rows = ", ".join(_spoken(name) for name in schema.names if name in (*index, *counting))
        raise VectorsError(
            f"{path} has no column {ITEM}{f', and [{rows}] only numbers the rows' if rows else ''}; write the "
            "items' tokens as a column:\n"
            f'    df = df.reset_index(names="{ITEM}")  # if the index of df holds them; else df.assign({ITEM}=tokens)\n'
            f"    df.to_parquet({str(path.with_suffix('.parquet'))!r}, index=False)"
        )
    raise VectorsError(
        f"{path} has {len(candidates)} columns of text or whole numbers ({listed(candidates)}) and none of them is "
        f"named {ITEM}; name the column of item tokens {ITEM}"
    )


def _vectors(path: Path, table: pa.Table, alike: Sequence[str]) -> tuple[list[str], Tensor]:
    """The columns of the vectors, and these."""
    lists = [field.name for field in table.schema if _is_list(field)]
    if len(lists) == 1:
        return lists, _rows_of_lists(path, table.column(lists[0]))
    numbers = list(alike) or [field.name for field in table.schema if _is_number(field)]
    if numbers and not lists:
        columns = [table.column(name).to_numpy().astype(np.float32) for name in numbers]
        return numbers, torch.from_numpy(np.stack(columns, axis=1))
    texts = [field.name for field in table.schema if _is_text(field)]
    if len(texts) == 1 and not lists:
        return texts, _rows_of_texts(path, table.column(texts[0]).to_pylist())
    raise VectorsError(
        f"{path} has {len(lists)} columns of lists and {len(numbers)} of numbers beside the item tokens; keep one "
        "column of lists, or columns of numbers only"
    )


def _rows_of_lists(path: Path, column: pa.ChunkedArray) -> Tensor:
    """A column of N lists -> float32 [N, H]."""
    width = one_width(path, set(pyarrow.compute.list_value_length(column).unique().to_pylist()))
    # by chunks: as one array, 2^31 numbers would be too many for pyarrow's offsets
    flat = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in column.chunks]
    return as_rows(path, np.concatenate(flat).reshape(-1, width))


def _rows_of_texts(path: Path, texts: Sequence[str | None]) -> Tensor:
    """Lists that were written as text, such as ``[0.1, 0.2]`` -> float32 [N, H]."""
    plain = [re.sub(r"[\[\](),;]", " ", text or "") for text in texts]
    if any("..." in text for text in plain):
        raise VectorsError(
            f"{path} holds vectors that were shortened to '...' when they were printed; write all numbers"
        )
    return torch.from_numpy(parse_rows(path, plain))


def listed(names: Sequence[str]) -> str:
    """Columns as a message names them: their number, and the first ones and the last where they are many."""
    shown = [_spoken(name) for name in names]
    if len(names) == 1:
        return f"[{shown[0]}]"
    return f"{len(names)} columns [{', '.join(shown if len(names) <= _SHOWN else [*shown[:2], '...', shown[-1]])}]"


def _spoken(name: str) -> str:
    return name or "a column without a name"


def _plain(field: pa.Field) -> Any:
    return field.type.value_type if pa.types.is_dictionary(field.type) else field.type


def _is_text(field: pa.Field) -> bool:
    return bool(pa.types.is_string(_plain(field)) or pa.types.is_large_string(_plain(field)))


def _is_whole(field: pa.Field) -> bool:
    return bool(pa.types.is_integer(_plain(field)))


def _is_number(field: pa.Field) -> bool:
    return bool(pa.types.is_floating(field.type) or pa.types.is_integer(field.type))


def _is_list(field: pa.Field) -> bool:
    kind = field.type
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))
