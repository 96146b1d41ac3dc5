"""Interactions in parquet and feather: one a row, or one user a row, with lists of items and perhaps of their times.

Spark's ``collect_list`` and Polars' ``group_by().agg()`` write one user a row. Without times the order in the list is
the order in time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from recbole_tslrec.data.columnar import packed_size, read_columns, read_schema, read_table
from recbole_tslrec.data.columns import choose, says
from recbole_tslrec.data.content import SourceError, check_unpacked
from recbole_tslrec.data.identifiers import Column
from recbole_tslrec.data.times import look_like_times

_INDEX = "__index_level_"  # of pandas, without a name
_ARE_LISTS = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
_PAIRS_APART = (
    "write items and times as two lists, in Spark `select user, pairs.item as items, pairs.time as times`, in Polars "
    "`.agg('item', 'time')`"
)


def read_interactions(path: Path, kind: str, columns: Sequence[str]) -> pd.DataFrame:
    """The columns of user, item and, if there is one, time, in this order; indexed by row from 1.

    Args:
        path: the file or folder.
        kind: see :func:`~recbole_tslrec.data.columnar.columnar_kind`.
        columns: those of user, item and perhaps time, by name or by number from 0; empty takes the only column of
            tokens beside one or two of lists, or those whose names say what they are.

    Raises:
        SourceError: it is not clear which columns are meant, or they are not there; of lists: a column has another
            type, a list is missing or empty, a value in one is missing, the two of a user differ in length, a user
            without times has several rows, or the rows written out would fill the memory.
    """
    schema = read_schema(path, kind)
    found = () if columns else _list_columns(schema)
    names = found or choose(path, schema.names, columns).names
    twice = next((name for name in names if schema.names.count(name) > 1), None)
    if twice:
        raise SourceError(f"{path} has several columns [{twice}]; give each a name of its own")
    if not _is_list(schema.field(names[1]).type):
        return read_columns(path, kind, names)
    table = read_table(path, kind, list(names)).select(list(names))
    _check_types(path, table.schema)
    if found:
        table = _with_times_last(path, table)
    return _written_out(path, kind, table)


def _is_list(kind: pa.DataType) -> bool:
    return any(holds(kind) for holds in _ARE_LISTS)


def _list_columns(schema: pa.Schema) -> tuple[str, ...]:
    """The only column of tokens and the one or two of lists; empty where there are not just these.

    Columns of anything else (numbers with a fraction, times, objects) may be there too.
    """
    tokens = [field.name for field in schema if _is_token(field.type) and not field.name.startswith(_INDEX)]
    lists = [field.name for field in schema if _is_list(field.type)]
    return (*tokens, *lists) if len(tokens) == 1 and len(lists) in (1, 2) else ()


def _written_out(path: Path, kind: str, table: pa.Table) -> pd.DataFrame:
    """An interaction a row of a table with one user a row."""
    user, *lists = table.column_names
    users = table.column(0).to_pandas(integer_object_nulls=True)
    users.index = pd.RangeIndex(1, len(users) + 1)
    each = {name: _OneRowEach(Column(path, name, "row"), users) for name in table.column_names}
    if users.isna().any():
        raise Column(path, user, "row").error(
            users[users.isna()], "has no id", "a row has a user; delete what has none"
        )
    lengths = [each[name].lengths(table.column(name)) for name in lists]
    if len(lists) == 2:
        each[lists[0]].refuse_other_lengths(lengths[0], lists[1], lengths[1])
    else:
        cure = "without times the order between rows is not known: write one row a user, or a list of times too"
        each[user].refuse(users.duplicated().to_numpy(), "names that user again", cure)
    check_unpacked(path, packed_size(path, kind), int(_bytes_of(users) @ lengths[0]))
    values = {name: _flat(table.column(name)).array for name in lists}  # `array` keeps time zones
    frame = pd.DataFrame(values, users.index.repeat(lengths[0]))
    frame.insert(0, user, users.repeat(lengths[0]))
    return frame


@dataclass(frozen=True)
class _OneRowEach:
    """A column with one row a user.

    Attributes:
        column: where it stands.
        users: of each row, indexed by row from 1.
    """

    column: Column
    users: pd.Series

    def refuse(self, is_bad: NDArray[np.bool_], what: str, cure: str) -> None:
        """Raise an error that names the first of bad rows, if there is any."""
        if is_bad.any():
            bad = self.users[is_bad]
            count = f"; {len(bad):,} rows are like that" if len(bad) > 1 else ""
            raise SourceError(
                f"{self.column.path}, row {bad.index[0]}, user [{bad.iloc[0]}]: column [{self.column.name}] {what}"
                f"{count}; {cure}"
            )

    def lengths(self, lists: pa.ChunkedArray) -> NDArray[np.int64]:
        """The number of values in each list: one at least, and none of them missing."""
        self.refuse(_numpy(pc.is_null(lists)), "has no list", "delete the row")
        counts = _numpy(pc.list_value_length(lists)).astype(np.int64)
        self.refuse(counts == 0, "has an empty list", "a user has an item at least: delete the row")
        missing = _numpy(pc.is_null(pc.list_flatten(lists), nan_is_null=True))
        if missing.any():
            owners = np.repeat(np.arange(len(counts)), counts)[missing]
            is_bad = np.isin(np.arange(len(counts)), owners)
            self.refuse(is_bad, "has a list with a null in it", "nothing is filled in: delete what has no value")
        return counts

    def refuse_other_lengths(self, items: NDArray[np.int64], name: str, times: NDArray[np.int64]) -> None:
        """Raise an error where the lists of items and times differ in length."""
        differing = items != times
        if differing.any():
            first = int(differing.argmax())
            what = f"has {items[first]:,} items, but column [{name}] {times[first]:,} times"
            self.refuse(differing, what, "each item has its own time: write both lists of the same rows")


def _check_types(path: Path, schema: pa.Schema) -> None:
    user, *lists = schema
    if pa.types.is_nested(user.type):
        raise SourceError(
            f"{path}: column [{user.name}] holds several values in a row; name one that holds the user's id"
        )
    for field in lists:
        if not _is_list(field.type):
            raise SourceError(
                f"{path}: column [{field.name}] holds no lists as [{lists[0].name}] does, but {field.type}; name the "
                "list of the times, or leave it out where lists are in the order of time"
            )
        if pa.types.is_nested(field.type.value_type):
            raise SourceError(f"{path}: column [{field.name}] holds lists of {field.type.value_type}; {_PAIRS_APART}")


def _with_times_last(path: Path, table: pa.Table) -> pa.Table:
    """The list of times behind that of items, where there are two: types, names or values tell them apart."""
    user, *lists = table.column_names
    if len(lists) == 1:
        return table
    for is_time in (_is_time_by_type, _is_time_by_name, _is_time_by_value):
        times = [name for name in lists if is_time(table, name)]
        if len(times) == 1:
            return table.select([user, lists[1 - lists.index(times[0])], times[0]])
    raise SourceError(
        f"{path}: it is not clear which of [{lists[0]}] and [{lists[1]}] holds the items and which their times; name "
        f"them with --columns={user},items,times, or --columns={user},items if there are no times"
    )


def _is_time_by_type(table: pa.Table, name: str) -> bool:
    return bool(pa.types.is_temporal(table.schema.field(name).type.value_type))


def _is_time_by_name(table: pa.Table, name: str) -> bool:
    return says(name, "time")


def _is_time_by_value(table: pa.Table, name: str) -> bool:
    first = _flat(table.column(name).slice(0, 1000))
    return bool(len(first)) and look_like_times(first)


def _is_token(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_token(kind.value_type)
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or str(kind) == "string_view"
    return bool(is_text or pa.types.is_integer(kind))


def _flat(lists: pa.ChunkedArray) -> pd.Series:
    """The values of all lists, in order."""
    values = pc.list_flatten(lists)
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    return values.to_pandas(integer_object_nulls=True, date_as_object=False)


def _numpy(array: pa.ChunkedArray) -> NDArray[Any]:
    return np.asarray(array.to_numpy())


def _bytes_of(users: pd.Series) -> NDArray[np.int64]:
    """How long each one's id is."""
    lengths = [len(user) if isinstance(user, (str, bytes)) else 8 for user in users]
    return np.array(lengths, dtype=np.int64)
