"""Tables in text, with a header or not: CSV with commas, semicolons or bars; tabs, ``::`` or white space.

Only CSV has quotes. Elsewhere a double quote is a character like any other, so that a lone one swallows nothing.
"""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv

from recbole_tslrec.data.content import SourceError, open_text
from recbole_tslrec.data.lines import blocks, without_blank

csv.field_size_limit(2**31 - 1)  # 131,072 by default; how long a line may be is for data/lines.py to say
WHITE = " "  # any run of blanks and tabs
_QUOTED = ",;|"  # CSV
SEPARATORS = ("::", "\t", *_QUOTED)


@dataclass(frozen=True)
class Table:
    """Some columns of a table as text.

    Attributes:
        frame: the columns, by their places in the file, indexed by line from 1.
        continued: lines that are not blank and only go on with a quoted field of the line before.
    """

    frame: pd.DataFrame
    continued: int = 0


class _IrregularError(Exception):
    """A block has lines that are not one row each."""


def separator_of(lines: Sequence[str]) -> str:
    """What separates the fields of a file's first lines: the first that cuts all of them into equally many."""
    widths = {separator: {len(split(line, separator)) for line in lines} for separator in (*SEPARATORS, WHITE)}
    regular = [separator for separator, found in widths.items() if len(found) == 1 and found != {1}]
    if regular:
        certain = [separator for separator in regular if separator in ("::", "\t")]
        by_width = sorted(regular, key=lambda separator: (separator == WHITE, -max(widths[separator])))
        return str((certain or by_width)[0])
    counts = {separator: len(split(lines[0], separator)) for separator in SEPARATORS}
    best = max(counts, key=lambda separator: counts[separator])
    return best if counts[best] > 1 else WHITE


def split(line: str, separator: str) -> list[str]:
    """The fields of a line by themselves."""
    if separator == WHITE:
        return line.split()
    if separator not in _QUOTED:
        return line.split(separator)
    return next(csv.reader([line], delimiter=separator), [])


def is_number(field: str) -> bool:
    """Whether a field is a number, ``nan`` and ``inf`` among them."""
    try:
        float(field)
    except ValueError:
        return False
    return True


def unquoted(field: str) -> str:
    """A field of a format without quotes, without the double quotes around it that some writers put all the same."""
    quoted = len(field) > 1 and field[0] == field[-1] == '"' and '"' not in field[1:-1].replace('""', "")
    return field[1:-1].replace('""', '"') if quoted else field


def read_table(
    path: Path, separator: str, width: int, places: Sequence[int], has_header: bool, numbers: int | None = None
) -> Table:
    """Read some columns of a table.

    Args:
        path: the file, packed or not.
        separator: one of :data:`SEPARATORS` or :data:`WHITE`.
        width: fields of a line.
        places: of the columns that are wanted, from 0.
        has_header: whether to skip the first line.
        numbers: the place of a column that is read as numbers, if all its fields are.

    Raises:
        SourceError: a line has more or fewer fields; a quoted field does not end, or holds lines that look like rows.
    """
    try:
        return _read_blocks(path, separator, width, places, has_header, numbers)
    except _IrregularError:
        return _read_rows(path, separator, width, places, has_header)


def _read_blocks(
    path: Path, separator: str, width: int, places: Sequence[int], has_header: bool, numbers: int | None
) -> Table:
    kinds = {place: pa.string() if place == numbers else pa.dictionary(pa.int32(), pa.string()) for place in places}
    tables, indices = [], []
    line = 1
    for block in blocks(path):
        data, index = without_blank(block)
        index += line
        line += block.count(b"\n")
        if has_header and len(index):
            data, index, has_header = data.partition(b"\n")[2], index[1:], False
        if not len(index):
            continue
        table = _parse(data, separator, width, kinds)
        if table.num_rows != len(index):
            raise _IrregularError
        tables.append(table)
        indices.append(index)
    if not tables:
        return Table(pd.DataFrame({place: [] for place in places}, dtype=object))
    table = pa.concat_tables(tables).unify_dictionaries()
    frame = pd.DataFrame({place: _numbers(table[f"f{place}"]).to_pandas() for place in places})
    return Table(frame.set_index(np.concatenate(indices)))


def _numbers(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column of text as whole numbers or floats, where it holds nothing else."""
    for kind in (pa.int64(), pa.float64()) if pa.types.is_string(column.type) else ():
        try:
            return column.cast(kind)
        except pa.ArrowInvalid:
            pass
    return column


def _parse(data: bytes, separator: str, width: int, kinds: Mapping[int, pa.DataType]) -> pa.Table:
    if separator == WHITE:
        data = re.sub(rb"(?m)^[^\S\n]+|[^\S\n]+$", b"", data)
        data = re.sub(rb"[^\S\n]+", b"\t", data)
    elif separator == "::":
        data = data.replace(b"\t", b" ").replace(b"::", b"\t")
    column_types = {f"f{place}": kind for place, kind in kinds.items()}
    try:
        return pa_csv.read_csv(
            pa.BufferReader(data),
            read_options=pa_csv.ReadOptions(column_names=[f"f{place}" for place in range(width)], use_threads=False),
            parse_options=pa_csv.ParseOptions(
                delimiter=separator if separator in _QUOTED else "\t",
                quote_char='"' if separator in _QUOTED else False,
                newlines_in_values=separator in _QUOTED,
            ),
            convert_options=pa_csv.ConvertOptions(
                include_columns=list(column_types), column_types=column_types, strings_can_be_null=False
            ),
        )
    except pa.ArrowInvalid as error:
        raise _IrregularError from error


def _read_rows(path: Path, separator: str, width: int, places: Sequence[int], has_header: bool) -> Table:
    """Line by line: finds what is wrong with a line, or reads a CSV whose quoted fields go over lines."""
    lines: list[int] = []
    rows: list[list[str]] = []
    continued = 0
    for first, last, fields, blank_inside in _rows(path, separator):
        if len(fields) != width:
            raise SourceError(
                f"{path}, line {first} has {len(fields)} fields, not {width}; correct the line, or name its --format"
            )
        if last > first:
            _check_continued(path, separator, first, last, fields)
            continued += last - first - blank_inside
        if has_header:
            has_header = False
            continue
        lines.append(first)
        rows.append([fields[place] for place in places])
    return Table(pd.DataFrame(rows, lines, list(places), dtype=object), continued)


def _rows(path: Path, separator: str) -> Iterator[tuple[int, int, list[str], int]]:
    """First and last line, the fields, and blank lines within them, of each row."""
    with open_text(path) as file:
        if separator not in _QUOTED:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, number, split(line.rstrip("\n"), separator), 0
            return
        reader: Any = csv.reader(file, delimiter=separator, strict=True)
        first = 1
        while True:
            try:
                fields = next(reader, None)
            except csv.Error as error:
                raise SourceError(
                    f"{path}, line {first}: a double quote opens a field that does not end as it should ({error}, at "
                    f"line {reader.line_num}); inside a quoted field a double quote is written twice"
                ) from error
            if fields is None:
                return
            if any(field.strip() for field in fields) or len(fields) > 1:
                inside = [line for field in fields for line in field.split("\n")[1:-1]]
                yield first, reader.line_num, fields, sum(not line.strip() for line in inside)
            first = reader.line_num + 1


def _check_continued(path: Path, separator: str, first: int, last: int, fields: Sequence[str]) -> None:
    """Refuse a field whose lines have as many separators as rows of this table: a lone double quote swallowed them."""
    for place, field in enumerate(fields):
        lines = field.split("\n")
        expected = [len(fields) - 1 - place, *[len(fields) - 1] * (len(lines) - 2), place]
        if len(lines) > 1 and [line.count(separator) for line in lines] == expected:
            raise SourceError(
                f"{path}, line {first}: a double quote opens a field that goes on to line {last} and holds what look "
                "like rows of the table; remove the quote, or write it twice inside quotes"
            )
