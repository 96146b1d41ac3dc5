"""The files that people have, each read into one form: user, item and time of each interaction.

=========  =============================================================================================
s3rec      S3-Rec's ``Beauty.txt``, ``Yelp.txt``: ``user item item ...`` a line, items in time order
sasrec     SASRec's ``ml-1m.txt``: ``user item`` a line, in time order
movielens  MovieLens' ``ratings.dat``: ``user::item::rating::time`` a line
amazon     Amazon's reviews of 2014 and 2018: a JSON object a line, ``reviewerID``, ``asin``, ``unixReviewTime``
table      CSV or TSV whose first line names the columns
=========  =============================================================================================

Each may be packed with gzip. Where a source has no times, the place in the user's sequence stands for it, from 1.
"""

import ast
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from recbole_tslrec.data.content import SourceError, open_text

COLUMNS = ("user_id", "item_id", "timestamp")  # of a table, where none are named
_LOOKED_AT = 200  # lines by which a format is recognised


@dataclass(frozen=True)
class Format:
    """A form in which interactions are published.

    Attributes:
        read: path and column names -> a frame with text ``user`` and ``item`` and a number ``time``.
        is_it: whether the first lines of a file, none of them blank, look like it.
        is_raw: whether interactions are as collected; otherwise whoever made the file has filtered them.
    """

    read: Callable[[Path, Sequence[str]], pd.DataFrame]
    is_it: Callable[[Sequence[str]], bool]
    is_raw: bool = False


def read_source(path: Path, form: str | None = None, columns: Sequence[str] = ()) -> tuple[str, pd.DataFrame]:
    """Read a file of interactions.

    Args:
        path: the file.
        form: one of :data:`FORMATS`; ``None`` recognises it from the content.
        columns: the columns of a table: those of user and item, and of the time if there is one.

    Returns:
        The format, and a frame with text ``user`` and ``item`` and a number ``time``, in the order of the file.

    Raises:
        SourceError: no such file, an unknown format, or a malformed line, which is named.
    """
    if not path.is_file():
        raise SourceError(f"source {path} does not exist; check --source")
    form = form or ("table" if columns else recognise(path))
    if form not in FORMATS:
        raise SourceError(f"format [{form}] is not one of {', '.join(FORMATS)}")
    frame = FORMATS[form].read(path, columns)
    if frame.empty:
        raise SourceError(f"source {path} has no interactions")
    return form, frame


def recognise(path: Path) -> str:
    """The format of a file, from its first lines.

    Raises:
        SourceError: it looks like none of them.
    """
    with open_text(path) as file:
        lines = [line for line in islice(file, _LOOKED_AT) if line.strip()]
    for name, form in FORMATS.items():
        if lines and form.is_it(lines):
            return name
    first = lines[0].strip() if lines else ""
    raise SourceError(
        f"the format of {path} is not recognised from its first line [{first[:60]}]; name it with --format="
        f"{'|'.join(FORMATS)}, and the columns of a table with --columns=user,item,time"
    )


def fields(path: Path, separator: str | None, count: int, encoding: str | None = None) -> Iterator[list[str]]:
    """The fields of each line; blank lines count for nothing.

    Args:
        path: the file.
        separator: between fields; ``None`` is any white space.
        count: the number of the fields.
        encoding: the encoding of the file.

    Raises:
        SourceError: a line has another number of fields.
    """
    with open_text(path, encoding) as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                found = line.strip().split(separator)
                if len(found) != count:
                    raise _malformed(path, number, f"has {len(found)} fields, not {count}")
                yield found


def records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a file with one a line, each with its line's number; blank lines count for nothing.

    Amazon's metadata of 2014 are Python literals, not JSON.

    Raises:
        SourceError: a line holds no object.
    """
    with open_text(path) as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except json.JSONDecodeError:
                record = _literal(line)
            if not isinstance(record, dict):
                raise _malformed(path, number, "holds neither a JSON object nor a Python dict")
            yield number, record


def _literal(line: str) -> Any:
    try:
        return ast.literal_eval(line.strip())
    except (ValueError, SyntaxError):
        return None


def _read_s3rec(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    pairs: list[tuple[str, str]] = []
    seen: set[str] = set()
    with open_text(path) as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            user, *items = line.split()
            if not items or user in seen:
                why = "has no item" if not items else f"names the user {user} again; a user has one line"
                raise _malformed(path, number, why)
            seen.add(user)
            pairs += [(user, item) for item in items]
    return _with_places(pairs)


def _read_sasrec(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    return _with_places(list(fields(path, None, 2)))


def _with_places(pairs: Sequence[Sequence[str]]) -> pd.DataFrame:
    frame = pd.DataFrame(pairs, columns=["user", "item"], dtype=str)
    return frame.assign(time=frame.groupby("user").cumcount() + 1)


def _read_movielens(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    frame = pd.DataFrame(fields(path, "::", 4, "latin-1"), columns=["user", "item", "rating", "time"], dtype=str)
    return _with_numbers(frame.drop(columns="rating"), path, first_line=1)


def _read_amazon(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    rows = []
    for number, review in records(path):
        try:
            rows.append((str(review["reviewerID"]), str(review["asin"]), review["unixReviewTime"]))
        except KeyError as error:
            raise _malformed(path, number, f"has no {error}") from None
    return _with_numbers(pd.DataFrame(rows, columns=["user", "item", "time"]), path, first_line=1)


def _read_table(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    columns = columns or COLUMNS
    if len(columns) not in (2, 3):
        raise SourceError(f"columns [{','.join(columns)}] must be those of user and item, and of the time if there is")
    with open_text(path) as file:
        separator = _separator(file.readline())
    with open_text(path) as file:
        try:
            frame = pd.read_csv(file, sep=separator, dtype=str, keep_default_na=False)
        except pd.errors.ParserError as error:
            raise SourceError(f"{path} is no table: {error}") from error
    if not set(columns) <= set(frame.columns):
        raise SourceError(
            f"{path} has the columns {', '.join(frame.columns)}; name those of user, item and time with "
            f"--columns=user,item,time, not [{','.join(columns)}]"
        )
    frame = frame[list(columns)].set_axis(["user", "item", "time"][: len(columns)], axis=1)
    if len(columns) == 2:
        return _with_places(frame.to_numpy().tolist())
    return _with_numbers(frame, path, first_line=2)


def _with_numbers(frame: pd.DataFrame, path: Path, first_line: int) -> pd.DataFrame:
    """The frame with times as numbers, whole ones where all are."""
    time = pd.to_numeric(frame["time"], errors="coerce")
    bad = np.flatnonzero(~np.isfinite(time.to_numpy(dtype=np.float64)))
    if len(bad):
        why = f"has the time [{frame['time'].iloc[bad[0]]}], which is no number such as unix seconds"
        raise _malformed(path, int(bad[0]) + first_line, why)
    return frame.assign(time=time)


def _separator(header: str) -> str:
    return "\t" if "\t" in header else ","


def _malformed(path: Path, number: int, why: str) -> SourceError:
    return SourceError(f"{path}, line {number} {why}; check the file, or name its format with --format")


def _has_plain_numbers(lines: Sequence[str]) -> bool:
    """Whether lines are numbers with blanks between, as S3-Rec's and SASRec's files are."""
    return not any(mark in line for line in lines for mark in "\t,;")


# in the order in which they are tried
FORMATS: dict[str, Format] = {
    "amazon": Format(_read_amazon, lambda lines: lines[0].lstrip().startswith("{"), is_raw=True),
    "movielens": Format(_read_movielens, lambda lines: lines[0].count("::") == 3, is_raw=True),
    "table": Format(
        _read_table, lambda lines: set(COLUMNS[:2]) <= set(lines[0].strip().split(_separator(lines[0].strip())))
    ),
    "sasrec": Format(
        _read_sasrec, lambda lines: _has_plain_numbers(lines) and {len(line.split()) for line in lines} == {2}
    ),
    "s3rec": Format(
        _read_s3rec, lambda lines: _has_plain_numbers(lines) and min(len(line.split()) for line in lines) > 1
    ),
}
