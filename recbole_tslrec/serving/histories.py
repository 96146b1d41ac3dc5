"""Histories of users as people have them: one a line with all its items, or one interaction a line."""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from recbole_tslrec.data.columns import COLUMNS, ROLES, choose
from recbole_tslrec.data.content import SourceError
from recbole_tslrec.data.identifiers import MISSING, Column
from recbole_tslrec.data.times import parse_times
from recbole_tslrec.serving.input_records import Record, as_token, read_records

_TIMES = ("times", "timestamps")
LISTS = ("items", *_TIMES)
FORM = (
    '{"user": "u1", "items": ["i1", "i2"]}, or a table (parquet, feather, CSV, TSV) with the columns user and items, '
    "or user_id, item_id and perhaps timestamp"
)


@dataclass(frozen=True)
class History:
    """What a user has done.

    Attributes:
        place: where it stands, such as ``line 3``.
        user: the user; empty where there is none.
        items: the tokens of the items in time order.
        fault: why it cannot be read; empty where it can.
    """

    place: str
    user: str
    items: Sequence[Any] = ()
    fault: str = ""


def given_histories(histories: Mapping[str, Sequence[Any]]) -> list[History]:
    """Histories from Python.

    Raises:
        ValueError: they are no mapping.
    """
    if not isinstance(histories, Mapping):
        raise ValueError(f'give histories by user, such as {{"u1": ["i1", "i2"]}}, not a {type(histories).__name__}')
    return [_given(user, items) for user, items in histories.items()]


def _given(user: str, items: Any) -> History:
    # a text would be taken for its letters, and a set has no order
    if isinstance(items, str | Set | Mapping) or not isinstance(items, Iterable):
        return History(f"user {user!r}", user, fault=f"has no list of items, but {items!r}")
    return History(f"user {user!r}", user, list(items))


def read_histories(source: Path) -> Iterator[History]:
    """The histories of a file, one by one as they stand there; those of single interactions after all were read.

    Args:
        source: see :func:`~recbole_tslrec.serving.input_records.read_records`; with ``user`` and ``items``, or with the
            columns of user, item and perhaps time, by which then each user's interactions are ordered. Without a time
            they are in the order of the file.

    Raises:
        SourceError: the file cannot be read, or it is not clear which columns are which or what the times mean.
    """
    first = next((record for _, record in read_records(source, LISTS) if isinstance(record, dict)), {})
    columns = _interaction_columns(source, list(first))
    if columns:
        yield from _read_interactions(source, columns)
    else:
        yield from (_history(place, record) for place, record in read_records(source, LISTS))


def _interaction_columns(source: Path, names: Sequence[str]) -> tuple[str, ...]:
    """The names of user, item and, if there is one, time, where a record is one interaction; else nothing."""
    if "items" in names:
        return ()
    try:
        return choose(source, names, ()).names
    except SourceError:
        pass
    try:
        return choose(source, [*names, COLUMNS[2]], ()).names[:2]  # all but the time
    except SourceError:
        return ()


def _history(place: str, record: Record) -> History:
    """A record with all items of a user."""
    if isinstance(record, str):
        return History(place, "", fault=record)
    user = as_token(record.get("user", record.get("user_id")))
    if user is None:
        return History(place, "", fault="has no user that is text or a whole number")
    place = f"{place} (user {user!r})"
    items = record.get("items")
    if not isinstance(items, list):
        return History(place, user, fault="has no list of items")
    tokens = [as_token(item) for item in items]
    if None in tokens:
        return History(place, user, fault="has an item that is neither text nor a whole number")
    times = next((record[name] for name in (*_TIMES, COLUMNS[2], "time") if isinstance(record.get(name), list)), None)
    if times is None:
        return History(place, user, tokens)
    order = _order(times, len(tokens))
    if order is None:
        return History(place, user, fault="has times beside its items that are not one number for each")
    return History(place, user, [tokens[index] for index in order])


def _order(times: Sequence[Any], items: int) -> list[int] | None:
    """The places of a user's items in time order; ``None`` where the times are not one number for each."""
    try:
        numbers = [float(time) for time in times]
    except (TypeError, ValueError):
        return None
    if len(numbers) != items or any(number != number for number in numbers):
        return None
    return sorted(range(items), key=numbers.__getitem__)


def _interaction(place: str, record: Record, columns: Sequence[str]) -> tuple[Any, ...] | History:
    """User, item and, if there is one, time of a record; or what is wrong with it."""
    if isinstance(record, str):
        return History(place, "", fault=record)
    values = [record.get(column) for column in columns]
    for role, value in zip(ROLES, values, strict=False):
        if value is None or value != value or str(value).strip() in MISSING:
            return History(place, "", fault=f"has no {role}")
    user, item = map(as_token, values[:2])
    if user is None or item is None:
        return History(place, "", fault="has a user or an item that is neither text nor a whole number")
    return (user, item, *values[2:])


def _read_interactions(source: Path, columns: Sequence[str]) -> Iterator[History]:
    places, rows = [], []
    for place, record in read_records(source, LISTS):
        found = _interaction(place, record, columns)
        if isinstance(found, History):
            yield found
        else:
            places.append(place)
            rows.append(found)
    frame = pd.DataFrame(rows, columns=["user", "item", "time"][: len(columns)]).assign(place=places)
    if len(columns) == 3 and len(frame):
        unit = places[0].partition(" ")[0]
        numbers = [int(place.rpartition(" ")[2]) for place in places]
        times = parse_times(frame["time"].set_axis(numbers), Column(source, columns[2], unit)).to_numpy()
        for place in frame["place"][np.isnan(times)]:
            yield History(place, "", fault="has a time that is none")
        frame = frame.assign(time=times).dropna(subset="time").sort_values("time", kind="stable")
    for user, of_user in frame.groupby("user", sort=False):
        yield History(f"{of_user['place'].iloc[0]} (user {user!r})", str(user), of_user["item"].tolist())
