"""The files that people have, each read into one form: user, item and time of each interaction.

=========  =============================================================================================
s3rec      S3-Rec's ``Beauty.txt``, ``Yelp.txt``: ``user item item ...`` a line, items in time order
sasrec     SASRec's ``ml-1m.txt``: ``user item`` a line, in time order
movielens  MovieLens' ``ratings.dat``: ``user::item::rating::time`` a line
amazon     Amazon's reviews of 2014 and 2018: an object a line, ``reviewerID``, ``asin``, ``unixReviewTime``
json       an object a line with other names: Amazon's of 2023, Yelp, Steam, Goodreads
columnar   parquet and feather, an interaction a row or a user a row (``list<int>``); folders of parquet
table      CSV, TSV or white space between columns; RecBole's atomic files
=========  =============================================================================================

Text may be packed (:mod:`~recbole_tslrec.data.content`). Where a source has no times, the place in the user's sequence
stands for it, from 1. What any of them reads goes through one gate: :func:`read_source`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from recbole_tslrec.data.columnar import columnar_kind, count_rows
from recbole_tslrec.data.columns import ROLES, choose
from recbole_tslrec.data.content import SourceError, open_text
from recbole_tslrec.data.delimited import SEPARATORS, WHITE, read_table, separator_of, split
from recbole_tslrec.data.identifiers import Column, read_ids
from recbole_tslrec.data.interaction_tables import read_interactions
from recbole_tslrec.data.lines import count_lines, first_lines
from recbole_tslrec.data.records import parse_record, read_fields
from recbole_tslrec.data.times import look_like_times, read_times


@dataclass(frozen=True)
class Rows:
    """What a reader finds in a file.

    Attributes:
        frame: ``user``, ``item`` and, where the file has it, ``time``, as they stand there, in the order of the file
            and indexed by line from 1. Several may be of one line.
        columns: what the columns are called in the file, where they are called anything.
        header: lines that hold names only.
        continued: lines that are not blank and hold no beginning of a row, e.g. of a quoted field that goes on.
    """

    frame: pd.DataFrame
    columns: tuple[str, ...] = ()
    header: int = 0
    continued: int = 0


@dataclass(frozen=True)
class Format:
    """A form in which interactions are published.

    Attributes:
        read: path and column names -> its rows.
        is_it: whether the first lines of a text, none of them blank, look like it.
        is_raw: whether interactions are as collected; otherwise whoever made the file has filtered them.
    """

    read: Callable[[Path, Sequence[str]], Rows]
    is_it: Callable[[Sequence[str]], bool]
    is_raw: bool = False


_NAMED = ("json", "columnar", "table")  # formats whose columns can be named


@dataclass(frozen=True)
class Source:
    """A file of interactions, read and accounted for.

    Attributes:
        form: its format.
        frame: text ``user`` and ``item`` and a number ``time``, in the order of the file.
        columns: what the columns are called in the file.
        unit: what is counted: ``line``, or ``row`` where a file has no lines.
        lines: how many of them there are.
        other_lines: those of them that hold no interaction, by what they are.
        changes: what was done to the ids, and what stands for times that are not there.
    """

    form: str
    frame: pd.DataFrame
    columns: tuple[str, ...]
    unit: str
    lines: int
    other_lines: dict[str, int]
    changes: tuple[str, ...]


def read_source(path: Path, form: str | None = None, columns: Sequence[str] = ()) -> Source:
    """Read a file of interactions.

    Args:
        path: the file, or a folder of parquet.
        form: one of :data:`FORMATS`; ``None`` recognises it from the content.
        columns: the columns of user and item, and of the time if there is one, by name or by number from 0.

    Raises:
        SourceError: no such file, an unknown format, or a malformed line, which is named; an id or a time is missing;
            the lines of the file are not all accounted for.
    """
    if not path.exists():
        raise SourceError(f"source {path} does not exist; check --source")
    form = form or recognise(path, named=bool(columns))
    if form not in FORMATS:
        raise SourceError(f"format [{form}] is not one of {', '.join(FORMATS)}")
    if columns and form not in _NAMED:
        raise SourceError(f"files of the format [{form}] have columns of their own; leave out --columns or --format")
    rows = FORMATS[form].read(path, columns)
    if rows.frame.empty:
        raise SourceError(f"source {path} has no interactions")
    kind = columnar_kind(path)
    unit = "row" if kind else "line"
    lines, other_lines = _account(path, rows, kind)
    names = rows.columns or tuple(rows.frame.columns)
    where = [Column(path, name, unit) for name in names]
    if len(names) == 3:
        _check_order(rows.frame, where)
    user, user_changes = read_ids(rows.frame["user"], where[0])
    item, item_changes = read_ids(rows.frame["item"], where[1])
    time = read_times(rows.frame["time"], where[2]) if "time" in rows.frame else user.groupby(user).cumcount() + 1
    changes = [
        f"ids of {role}s: {change}"
        for role, found in (("user", user_changes), ("item", item_changes))
        for change in found
    ]
    if "time" not in rows.frame:
        changes.append("no times: the place in the user's sequence stands for each, from 1")
    frame = pd.DataFrame({"user": user, "item": item, "time": time}).reset_index(drop=True)
    return Source(form, frame, tuple(names), unit, lines, other_lines, tuple(changes))


def recognise(path: Path, named: bool = False) -> str:
    """The format of a file, from its content.

    Args:
        path: the file.
        named: whether columns are named, as of a table, an object or a columnar file.

    Raises:
        SourceError: it looks like none of them.
    """
    if columnar_kind(path):
        return "columnar"
    lines = first_lines(path)
    for name, form in FORMATS.items():
        if lines and form.is_it(lines) and not (named and name not in _NAMED):
            return name
    if lines and named:
        return "table"
    first = lines[0].strip() if lines else ""
    raise SourceError(
        f"the format of {path} is not recognised from its first line [{first[:60]}]; name it with --format="
        f"{'|'.join(FORMATS)}, or the columns of a table with --columns=user,item,time"
    )


def _account(path: Path, rows: Rows, columnar: str | None) -> tuple[int, dict[str, int]]:
    """Count the lines once more, for themselves, and see that each is an interaction, blank, or a header."""
    index = rows.frame.index.to_numpy()
    with_rows = 1 + int((index[1:] != index[:-1]).sum())
    if columnar:
        total, other = count_rows(path, columnar), {}
        what, check = "rows", "the file"
    else:
        total, blank = count_lines(path)
        other = {"header": rows.header, "blank": blank, "inside quoted fields": rows.continued}
        what, check = "lines", "its quotes and line ends"
    if total != with_rows + sum(other.values()):
        found = ", ".join(f"{count:,} {name}" for name, count in other.items() if count)
        raise SourceError(
            f"{path} has {total:,} {what}, but {with_rows:,} with interactions{f' and {found}' if found else ''}; "
            f"check {check}, or name its format with --format"
        )
    return total, {name: count for name, count in other.items() if count}


def _check_order(frame: pd.DataFrame, where: Sequence[Column]) -> None:
    if look_like_times(frame["time"]):
        return
    for role, column in zip(ROLES[:2], where, strict=False):
        if look_like_times(frame[role]):
            raise SourceError(
                f"{column} is taken for the {role}, but holds times such as [{frame[role].iloc[0]}], while "
                f"[{where[2].name}] is taken for the time, but holds such as [{frame['time'].iloc[0]}]; the order is "
                "--columns=user,item,time"
            )


def _read_s3rec(path: Path, columns: Sequence[str]) -> Rows:
    lines: list[int] = []
    pairs: list[tuple[str, str]] = []
    seen: set[str] = set()
    with open_text(path) as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            user, *items = line.split()
            if not items or user in seen:
                why = "has no item" if not items else f"names the user {user} again; a user has one line"
                raise SourceError(
                    f"{path}, line {number} {why} in S3-Rec's files; if it is `user item time`, say --columns=0,1,2"
                )
            seen.add(user)
            pairs += [(user, item) for item in items]
            lines += [number] * len(items)
    return Rows(pd.DataFrame(pairs, lines, ["user", "item"], dtype=object))


def _read_sasrec(path: Path, columns: Sequence[str]) -> Rows:
    table = read_table(path, WHITE, 2, (0, 1), has_header=False)
    return Rows(table.frame.set_axis(["user", "item"], axis=1))


def _read_movielens(path: Path, columns: Sequence[str]) -> Rows:
    table = read_table(path, "::", 4, (0, 1, 3), has_header=False, numbers=3)
    return Rows(table.frame.set_axis(list(ROLES), axis=1), ("0", "1", "3"))


def _read_amazon(path: Path, columns: Sequence[str]) -> Rows:
    names = ("reviewerID", "asin", "unixReviewTime")
    return Rows(read_fields(path, names).set_axis(list(ROLES), axis=1), names)


def _read_json(path: Path, columns: Sequence[str]) -> Rows:
    lines = first_lines(path)
    found = list(map(str, parse_record(path, 1, lines[0]))) if lines else []
    chosen = choose(path, found, columns)
    frame = read_fields(path, chosen.names)
    return Rows(frame.set_axis(list(ROLES[: len(chosen.names)]), axis=1), chosen.names)


def _read_columnar(path: Path, columns: Sequence[str]) -> Rows:
    kind = columnar_kind(path)
    if kind is None:
        raise SourceError(f"{path} is neither parquet nor feather; leave out --format, or name another")
    frame = read_interactions(path, kind, columns)
    names = tuple(map(str, frame.columns))
    return Rows(frame.set_axis(list(ROLES[: len(names)]), axis=1), names)


def _read_table(path: Path, columns: Sequence[str]) -> Rows:
    lines = first_lines(path)
    if not lines:
        raise SourceError(f"source {path} has no interactions")
    separator = separator_of(lines)
    first, second = (split(line, separator) for line in [*lines[:2], *lines[:1]][:2])
    chosen = choose(path, first, columns, second)
    time = chosen.places[2] if len(chosen.places) == 3 else None
    table = read_table(path, separator, len(first), chosen.places, chosen.has_header, time)
    frame = table.frame.set_axis(list(ROLES[: len(chosen.places)]), axis=1)
    return Rows(frame, chosen.names, int(chosen.has_header), table.continued)


def _is_table(lines: Sequence[str]) -> bool:
    """Whether something but blanks separates columns, or one of the columns between blanks is the time."""
    if any(separator in lines[0] for separator in SEPARATORS):
        return True
    rows = [line.split() for line in lines]
    if {len(row) for row in rows} != {len(rows[0])} or len(rows[0]) < 3:
        return False
    beyond_header = np.array(rows[1:] or rows, dtype=object)
    return any(look_like_times(pd.Series(beyond_header[:, place])) for place in range(2, len(rows[0])))


def _are_words(lines: Sequence[str], at_least: int, at_most: float = np.inf) -> bool:
    """Whether lines are words with blanks between, as S3-Rec's and SASRec's files are."""
    return all(at_least <= len(line.split()) <= at_most for line in lines)


# in the order in which they are tried
FORMATS: dict[str, Format] = {
    "amazon": Format(
        _read_amazon, lambda lines: lines[0].lstrip().startswith("{") and "unixReviewTime" in lines[0], is_raw=True
    ),
    "json": Format(_read_json, lambda lines: lines[0].lstrip().startswith(("{", "["))),
    "movielens": Format(_read_movielens, lambda lines: lines[0].count("::") == 3, is_raw=True),
    "columnar": Format(_read_columnar, lambda lines: False),
    "table": Format(_read_table, _is_table),
    "sasrec": Format(_read_sasrec, lambda lines: _are_words(lines, 2, 2)),
    "s3rec": Format(_read_s3rec, lambda lines: _are_words(lines, 2)),
}
