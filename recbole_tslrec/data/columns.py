"""Which columns of a file are the user, the item and the time."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from recbole_tslrec.data.content import SourceError
from recbole_tslrec.data.delimited import is_number, unquoted
from recbole_tslrec.data.times import look_like_times

ROLES = ("user", "item", "time")
COLUMNS = ("user_id", "item_id", "timestamp")  # as this package calls them; taken before all others
# other names that are used for one thing only, without case, blanks, hyphens and underscores
_NAMES = {
    "user": "userid user uid reviewerid customerid customer visitorid visitor sessionid session memberid accountid",
    "item": "itemid item iid movieid movie productid product asin parentasin businessid bookid trackid artistid songid "
    "gameid appid venueid poiid locationid newsid articleid",
    "time": "timestamp time unixtime unixreviewtime unixtimestamp datetime date ts createdat eventtime reviewtime",
}


@dataclass(frozen=True)
class Chosen:
    """The columns of user, item and, if there is one, time.

    Attributes:
        places: their places in the file, from 0.
        names: what they are called, or their places.
        has_header: whether the first line holds names.
    """

    places: tuple[int, ...]
    names: tuple[str, ...]
    has_header: bool = True


def choose(path: Path, found: Sequence[str], columns: Sequence[str], second: Sequence[str] = ()) -> Chosen:
    """Find the columns.

    Args:
        path: the file, for messages.
        found: the fields of the first line, or the names of the columns.
        columns: those of user, item and perhaps time, by name or by number from 0; empty takes those whose names say
            what they are.
        second: the fields of the second line; empty where the names are certain.

    Raises:
        SourceError: a column is not there, or more than one could be meant; lists the columns.
    """
    names = [_spelled(name) for name in found]
    if not columns:
        return _by_meaning(path, names, bool(second))
    if len(columns) not in (2, 3) or len(set(columns)) < len(columns):
        raise SourceError(f"columns [{','.join(columns)}] must be those of user, item and, if there is one, time")
    if all(column.isdecimal() for column in columns):
        return _by_number(path, names, [int(column) for column in columns], second)
    by_name = [_place(path, names, column) for column in columns]
    if None not in by_name:
        places = tuple(place for place in by_name if place is not None)
        return Chosen(places, tuple(names[place] for place in places))
    missing = ", ".join(column for column, place in zip(columns, by_name, strict=True) if place is None)
    raise SourceError(f"{path} has no column [{missing}]; {_what_there_is(names, bool(second))}")


def item_column(path: Path, names: Sequence[str], like: str) -> int:
    """The place of the column with the items' ids in a file about items.

    Args:
        path: the file, for messages.
        names: of its columns.
        like: what the column of the items is called in the file of interactions.

    Raises:
        SourceError: there is none.
    """
    names = [_spelled(name) for name in names]
    for name in (like, COLUMNS[1]):
        place = _place(path, names, name)
        if place is not None:
            return place
    places = _meaning(names, "item")
    if len(places) == 1:
        return places[0]
    raise SourceError(f"item file {path} has no column item_id{f' or {like}' if like else ''}, but {', '.join(names)}")


def says(name: str, role: str) -> bool:
    """Whether the name of a column of lists says what they hold: a name of that role, or its plural."""
    words = _NAMES[role].split()
    return _plain(name) in words or _plain(name).removesuffix("s") in words


def _place(path: Path, names: Sequence[str], column: str) -> int | None:
    for read in (str, _without_type, _plain):
        places = [place for place, name in enumerate(names) if read(name) == read(column)]
        if len(places) > 1:
            raise SourceError(f"{path} has {len(places)} columns [{column}]; give each a name of its own")
        if places:
            return places[0]
    return None


def _by_number(path: Path, names: Sequence[str], places: Sequence[int], second: Sequence[str]) -> Chosen:
    if max(places) >= len(names):
        raise SourceError(f"{path} has {len(names)} columns, 0 to {len(names) - 1}, but no column {max(places)}")
    is_numbered = list(names) == [str(place) for place in range(len(names))]  # as pandas writes a table without names
    has_header = not second or is_numbered or _is_above_times(names, second, places)
    labels = tuple(names[place] if has_header else str(place) for place in places)
    return Chosen(tuple(places), labels, has_header)


def _is_above_times(first: Sequence[str], second: Sequence[str], places: Sequence[int]) -> bool:
    """Whether the column of the time has a time in the second line, and none in the first."""
    if len(places) < 3 or places[2] >= len(second):
        return False
    above, below = (
        look_like_times(pd.Series([line[places[2]]])) or is_number(line[places[2]]) for line in (first, second)
    )
    return below and not above


def _by_meaning(path: Path, names: Sequence[str], may_be_data: bool) -> Chosen:
    exact = [_place(path, names, name) for name in COLUMNS]
    candidates = [
        [place] if place is not None else _meaning(names, role) for place, role in zip(exact, ROLES, strict=True)
    ]
    if all(len(places) == 1 for places in candidates):
        places = tuple(places[0] for places in candidates)
        return Chosen(places, tuple(names[place] for place in places))
    unclear = [
        f"{role} ({', '.join(names[place] for place in places) or 'none has a name that says so'})"
        for role, places in zip(ROLES, candidates, strict=True)
        if len(places) != 1
    ]
    why = "" if may_be_data and _is_data(names) else f"it is not clear which is the {' and the '.join(unclear)}; "
    raise SourceError(f"{path}: {why}{_what_there_is(names, may_be_data)}")


def _meaning(names: Sequence[str], role: str) -> list[int]:
    return [place for place, name in enumerate(names) if _plain(name) in _NAMES[role].split()]


def _what_there_is(names: Sequence[str], may_be_data: bool) -> str:
    if may_be_data and _is_data(names):
        first = ", ".join(names)
        return (
            f"its first line [{first[:80]}] is no header with names of columns; give those of user, item and time by "
            f"number from 0, such as --columns={'0,1,3' if len(names) > 3 else '0,1,2'}"
        )
    return (
        f"it has the columns {', '.join(names)}; name those of user, item and time with --columns=user,item,time (by "
        "number from 0 if these are no names), or those of user and item alone where lines are in the order of time"
    )


def _is_data(names: Sequence[str]) -> bool:
    """Whether what could be a header is an interaction: it holds a number or a date."""
    return any(is_number(name) or look_like_times(pd.Series([name])) for name in names)


def _spelled(name: str) -> str:
    return unquoted(str(name).strip()).strip()


def _without_type(name: str) -> str:
    """The name of a column of RecBole's atomic files without its type."""
    return re.sub(r":(token|float|token_seq|float_seq)$", "", name)


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", "", _without_type(name)).casefold()
