"""One object a line: JSON, or as in some older files a Python literal."""

import ast
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.json as pa_json

from recbole_tslrec.data.content import SourceError, open_text
from recbole_tslrec.data.lines import blocks, first_lines, without_blank


def records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a file with one a line, each with its line's number; blank lines count for nothing.

    Raises:
        SourceError: a line holds no object.
    """
    with open_text(path) as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield number, parse_record(path, number, line)


def parse_record(path: Path, number: int, line: str) -> dict[str, Any]:
    """The object of a line.

    Raises:
        SourceError: it holds none.
    """
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        try:
            record = ast.literal_eval(line.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            record = None
    if not isinstance(record, dict):
        cure = (
            f"it is a JSON array: write one object a line with `jq -c '.[]' {path} > objects.jsonl`"
            if line.lstrip().startswith("[")
            else "write one object a line"
        )
        raise SourceError(f"{path}, line {number} holds neither a JSON object nor a Python dict; {cure}")
    return record


def read_fields(path: Path, names: Sequence[str]) -> pd.DataFrame:
    """Some fields of every object, indexed by line from 1.

    Raises:
        SourceError: an object has no such field, or one that is no single value; names its line.
    """
    fast = _read_plain_fields(path, names)
    if fast is not None:
        return fast
    lines: list[int] = []
    rows: list[list[Any]] = []
    for number, record in records(path):
        try:
            row = [record[name] for name in names]
        except KeyError as error:
            raise SourceError(f"{path}, line {number} has no {error}, but {', '.join(map(str, record))}") from None
        for name, value in zip(names, row, strict=True):
            if isinstance(value, (dict, list)):
                raise SourceError(f"{path}, line {number}: [{name}] holds several values; name a field that holds one")
        lines.append(number)
        rows.append(row)
    return pd.DataFrame(rows, lines, list(names), dtype=object)


def _read_plain_fields(path: Path, names: Sequence[str]) -> pd.DataFrame | None:
    """The same, much quicker, of JSON whose fields are all there and of one kind each; ``None`` of anything else."""
    lines = first_lines(path)
    first = parse_record(path, 1, lines[0]) if lines else {}
    kinds = {str: pa.string(), int: pa.int64(), float: pa.float64()}
    if not all(type(first.get(name)) in kinds for name in names):
        return None
    options = pa_json.ParseOptions(
        explicit_schema=pa.schema([(name, kinds[type(first[name])]) for name in names]),
        unexpected_field_behavior="ignore",
    )
    tables, indices = [], []
    line = 1
    for block in blocks(path):
        data, index = without_blank(block)
        indices.append(index + line)
        line += block.count(b"\n")
        if not len(index):
            continue
        reading = pa_json.ReadOptions(use_threads=False, block_size=len(data) + 1)
        try:
            tables.append(pa_json.read_json(pa.BufferReader(data), reading, options))
        except pa.ArrowInvalid:
            return None
        if tables[-1].num_rows != len(index) or any(column.null_count for column in tables[-1].columns):
            return None
    return pa.concat_tables(tables).select(list(names)).to_pandas().set_index(np.concatenate(indices))
