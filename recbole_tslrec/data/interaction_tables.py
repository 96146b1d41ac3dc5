"""Interactions in parquet and feather: one a row, or one user a row with lists; also many files in a folder.

What Spark writes of ``groupBy("user_id").agg(collect_list("item_id"))``, or Polars of a
``group_by("user_id").agg("item_id")``, has a list of items, and of times if there are any, in each user's row.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from recbole_tslrec.data.columnar import column_names, read_columns, read_table
from recbole_tslrec.data.content import SourceError, kind_of


def is_parquet_folder(path: Path) -> bool:
    """Whether a path is a folder with parquet files in it or below, as Spark, Polars and pandas partition them."""
    return path.is_dir() and bool(_parts(path))


def names_of_columns(path: Path) -> list[str]:
    """The names of the columns of a file, or of the first file of a folder.

    Raises:
        SourceError: the file is damaged.
    """
    first = _files(path)[0]
    return column_names(first, kind_of(first))


def read_interactions(path: Path, names: Sequence[str]) -> pd.DataFrame:
    """The columns of user, item and, if there is one, time; indexed by row from 1, through all files of a folder.

    Args:
        path: a file, or a folder of parquet files, which are taken in the order of their names.
        names: the columns. Where that of the items holds lists, a row is a user with the items in order of time, or in
            any order with a list of times beside.

    Raises:
        SourceError: a file is damaged or lacks a column; a list is missing, empty, has a gap or not as many times as
            items; names the row.
    """
    frames, rows = [], 0
    for file in _files(path):
        kind = kind_of(file)
        absent = [name for name in names if name not in column_names(file, kind)]
        if absent:
            raise SourceError(
                f"{file} has no column {', '.join(absent)}, which other files of {path} have; write it again"
            )
        frame = _read_file(file, kind, names)
        frames.append(frame.set_index(frame.index + rows))
        rows = int(frames[-1].index[-1]) if len(frame) else rows
    return pd.concat(frames) if len(frames) > 1 else frames[0]


def _files(path: Path) -> list[Path]:
    return _parts(path) if path.is_dir() else [path]


def _parts(folder: Path) -> list[Path]:
    """The files that hold data: what begins with a dot or an underscore does not, as in Spark."""
    found = sorted(folder.rglob("*.parquet"))
    return [path for path in found if path.is_file() and path.name[0] not in "._"]


def _read_file(path: Path, kind: str, names: Sequence[str]) -> pd.DataFrame:
    table = read_table(path, kind, list(names))
    if not _is_list(table.schema.field(names[1]).type):
        return read_columns(path, kind, names)
    user, *lists = names
    if pa.types.is_nested(table.schema.field(user).type):
        raise SourceError(f"{path}: column [{user}] holds several values in a row; a row is of one user")
    plain = [name for name in lists if not _is_list(table.schema.field(name).type)]
    if plain:
        raise SourceError(
            f"{path}: column [{names[1]}] holds a list of items in each row, and [{plain[0]}] one value; give a list "
            "of as many times, or leave the time out where items are in its order"
        )
    columns = {name: table.column(name) for name in lists}
    lengths = {name: _lengths(path, name, column) for name, column in columns.items()}
    counts = lengths[names[1]]
    for name in lists[1:]:
        differing = np.flatnonzero(lengths[name] != counts)
        if len(differing):
            row = differing[0]
            raise SourceError(
                f"{path}, row {row + 1}: column [{name}] has {lengths[name][row]:,} values, and [{names[1]}] has "
                f"{counts[row]:,} items; there must be a time for each item"
            )
    owner = np.repeat(np.arange(len(table)), counts)
    users = table.select([user]).to_pandas(ignore_metadata=True, integer_object_nulls=True)[user].to_numpy()[owner]
    values = {name: _values(path, name, column, owner) for name, column in columns.items()}
    return pd.DataFrame({user: users, **values}, index=owner + 1)


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _lengths(path: Path, name: str, column: pa.ChunkedArray) -> np.ndarray:
    """The values in each row, none of which is missing or empty."""
    lengths: np.ndarray = pc.fill_null(pc.list_value_length(column), 0).to_numpy().astype(np.int64)
    empty = np.flatnonzero(lengths == 0)
    if len(empty):
        more = f"; {len(empty):,} rows are like that" if len(empty) > 1 else ""
        raise SourceError(
            f"{path}, row {empty[0] + 1}: column [{name}] has no list, or an empty one{more}; delete the row"
        )
    return lengths


def _values(path: Path, name: str, column: pa.ChunkedArray, owner: np.ndarray) -> np.ndarray:
    """All values of a column of lists, none of which is missing."""
    flat = pc.list_flatten(column)
    if pa.types.is_nested(flat.type):
        raise SourceError(f"{path}: column [{name}] holds lists of lists or of objects; write lists of plain values")
    if flat.null_count:
        row = owner[np.flatnonzero(pc.is_null(flat).to_numpy())[0]]
        more = f"; {flat.null_count:,} values are like that" if flat.null_count > 1 else ""
        raise SourceError(
            f"{path}, row {row + 1}: a value in the list of column [{name}] is missing{more}; leave it out"
        )
    values: np.ndarray = flat.to_pandas(date_as_object=False).to_numpy()
    return values
