"""What a file says of each user or item, a record a line: JSON lines, parquet, feather, CSV or TSV, by its content."""

import ast
import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from recbole_tslrec.data.columnar import COLUMNAR, read_batches
from recbole_tslrec.data.content import kind_of, open_text
from recbole_tslrec.data.delimited import separator_of, split, unquoted
from recbole_tslrec.data.lines import first_lines

Record = dict[str, Any] | str  # fields by name, or why there are none


def read_records(source: Path, lists: Collection[str]) -> Iterator[tuple[str, Record]]:
    """The records of a file, each with its place, such as ``line 3``; blank lines count for nothing.

    Names of fields are without what RecBole's atomic files write behind them (``user_id:token``). What a table of text
    holds is text, but for lists.

    Args:
        source: the file.
        lists: the names of fields that hold lists, in a table of text as Python or JSON writes them, or with blanks
            between what is in them.

    Raises:
        SourceError: there is no such file, it is of a kind that is not read, or damaged.
    """
    kind = kind_of(source)
    if kind in COLUMNAR:
        yield from _read_columnar(source, kind)
        return
    lines = first_lines(source)
    if lines and lines[0].lstrip().startswith(("{", "[")):
        yield from _read_objects(source)
    elif lines:
        yield from _read_table(source, separator_of(lines), lists)


def _read_columnar(source: Path, kind: str) -> Iterator[tuple[str, Record]]:
    number = 0
    for batch in read_batches(source, kind):
        for record in batch.to_pylist():
            number += 1
            yield f"row {number}", record


def _read_objects(source: Path) -> Iterator[tuple[str, Record]]:
    with open_text(source) as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield f"line {number}", _object(line)


def _object(line: str) -> Record:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        value = None
    return value if isinstance(value, dict) else "is no JSON object"


def _read_table(source: Path, separator: str, lists: Collection[str]) -> Iterator[tuple[str, Record]]:
    names: list[str] = []
    with open_text(source) as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            fields = [unquoted(field.strip()) for field in split(line.rstrip("\n"), separator)]
            if not names:
                names = [field.partition(":")[0] for field in fields]
            else:
                record: dict[str, Any] = dict(zip(names, fields, strict=False))
                for name in record.keys() & lists:
                    record[name] = _list_of(record[name])
                wrong = f"has more or fewer fields than the {len(names)} columns"
                yield f"line {number}", record if len(fields) == len(names) else wrong


def _list_of(text: str) -> Any:
    """A list that is written as text; the text where it is none."""
    if not text.startswith("["):
        tokens = text.split()
        commas = all(token.endswith(",") for token in tokens[:-1])  # "50, 181, 172"
        return [token.removesuffix(",") for token in tokens] if commas else tokens
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text


def as_token(value: Any) -> str | None:
    """Text as it is, and whole numbers as text, those too that pandas made floats of; ``None`` for anything else."""
    if isinstance(value, str) and value:
        return value
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None
