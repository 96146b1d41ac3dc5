"""The columns of an atomic file, as pandas reads them and several times sooner."""

import csv
from collections.abc import Sequence
from mmap import ACCESS_READ, mmap
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as arrow_csv
from pandas._libs.parsers import STR_NA_VALUES  # what pandas takes for nothing

_UTF8 = ("utf-8", "utf8", "utf-8-sig")
_NOT_ALIKE = (b"\0", b"\r")  # which pyarrow's parser and pandas' do not read alike


def read_columns(path: Any, delimiter: str, **options: Any) -> Any:
    """RecBole's ``pd.read_csv`` of an atomic file.

    Args:
        path: the file.
        delimiter: between two columns.
        options: those of ``pandas.read_csv``.
    """
    # RecBole takes pandas' slow engine, which the fast one agrees with to the last bit where it converts numbers by
    # round trip: a million lines take 0.6 s instead of 7. Where a file is as plain as atomic files are, pyarrow's
    # parser reads the same values several times sooner still, and makes one object of equal tokens; whatever it
    # refuses goes to pandas, whose errors stay what they were.
    import pandas

    frame = _read_plain(path, delimiter, options)
    if frame is not None:
        return frame
    # In recbole/data/dataset/dataset.py a lone double quote in a tab-separated file opens a field that ends at the next
    # one, lines further down: 180 lines become 90 interactions in silence. Atomic files have no quoting.
    if delimiter == "\t":
        options["quoting"] = csv.QUOTE_NONE
    if len(delimiter) == 1:
        options.update(engine="c", float_precision="round_trip")
    return pandas.read_csv(path, delimiter=delimiter, **options)


def _read_plain(path: Any, delimiter: str, options: dict[str, Any]) -> Any:
    """The frame of a plain file, or ``None`` where it is not plain or the options are not those of columns by type."""
    types, encoding = options.get("dtype"), options.get("encoding") or "utf-8"
    named = isinstance(types, dict) and set(types) == set(options.get("usecols") or ())
    if not named or len(delimiter) != 1 or encoding.lower() not in _UTF8 or not _is_plain(path, delimiter):
        return None
    assert isinstance(types, dict)
    try:
        table = arrow_csv.read_csv(path, *_arrow_options(delimiter, types))
    except (pa.ArrowException, OSError):
        return None
    if table.num_rows == 0 or len(set(table.column_names)) < len(types):
        return None
    return _frame(table)


def _is_plain(path: Any, delimiter: str) -> bool:
    """Whether every line is one row, and several columns tell a blank line from one."""
    try:
        with open(path, "rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as text:
            head = text[: text.find(b"\n") + 1]
            forbidden = _NOT_ALIKE if delimiter == "\t" else (*_NOT_ALIKE, b'"')
            return delimiter.encode() in head and not any(text.find(mark) >= 0 for mark in forbidden)
    except (OSError, ValueError):  # no file, an empty one
        return False


def _arrow_options(delimiter: str, types: dict[str, Any]) -> Sequence[Any]:
    kinds = {name: pa.float64() if kind is np.float64 else pa.dictionary(pa.int32(), pa.string())
             for name, kind in types.items()}  # fmt: skip
    return (
        arrow_csv.ReadOptions(block_size=1 << 22),
        arrow_csv.ParseOptions(delimiter=delimiter, quote_char=False),
        arrow_csv.ConvertOptions(
            column_types=kinds, include_columns=list(types), null_values=sorted(STR_NA_VALUES), strings_can_be_null=True
        ),
    )


def _frame(table: pa.Table) -> Any:
    import pandas

    columns = {}
    for name in table.column_names:
        column = table.column(name)
        if pa.types.is_dictionary(column.type):
            whole = column.unify_dictionaries().combine_chunks()
            whole = whole.chunk(0) if isinstance(whole, pa.ChunkedArray) else whole
            tokens = np.array([*whole.dictionary.to_pylist(), np.nan], dtype=object)  # nan: pandas' word for nothing
            columns[name] = tokens[whole.indices.fill_null(len(tokens) - 1).to_numpy(zero_copy_only=False)]
        else:
            columns[name] = column.to_numpy()
    return pandas.DataFrame(columns, copy=False)
