"""Times of interactions as people write them, in numbers that keep their order; none is ever filled in."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recbole_tslrec.data.content import SourceError
from recbole_tslrec.data.identifiers import Column, is_missing

ACCEPTED = (
    "numbers such as unix seconds or milliseconds, ISO 8601 such as 2020-09-19T18:33:20Z or 2020-09-19, and dates "
    "such as Sat, 19 Sep 2020 18:33:20 GMT"
)
UNITS = {"seconds": 1, "milliseconds": 10**3, "microseconds": 10**6, "nanoseconds": 10**9}  # of a second
_FIRST, _LAST = 315_532_800, 4_102_444_800  # the years 1980 to 2100, in unix seconds
_DAY = 86_400  # seconds
_SHARE = 0.9  # of times that lie in those years, in whatever unit, if times are points in time at all
_LOOKED_AT = 1000  # values by which a column is taken for times
_ISO = "ISO8601"
_FORMATS = (
    _ISO,
    "%a, %d %b %Y %H:%M:%S %z",  # RFC 2822: mail, HTTP
    "%a %b %d %H:%M:%S %z %Y",  # Goodreads, Twitter
    "%a %b %d %H:%M:%S %Y",  # C's asctime
    "%d %b %Y",
    "%d-%b-%Y",  # MovieLens-100k
    "%B %d, %Y",
    "%b %d, %Y",
    "%m %d, %Y",  # Amazon's reviewTime
    "Posted %B %d, %Y.",  # Steam
)
_SLASHES = [  # what the same digits mean in two parts of the world
    (f"%m/%d/%Y{clock}", f"%d/%m/%Y{clock}") for clock in ("", " %H:%M", " %H:%M:%S")
]


def read_times(texts: pd.Series, column: Column) -> pd.Series:
    """Times as numbers; each one must be a time.

    Args:
        texts: text, numbers or times, indexed by line.
        column: where they stand.

    Raises:
        SourceError: as :func:`parse_times`; or one is missing or is no time, named with its line.
    """
    missing = is_missing(texts)
    if missing.any():
        raise column.error(texts[missing], "has no time", "a time is never filled in: delete what has none")
    times = parse_times(texts, column)
    if times.isna().any():
        raise column.error(texts[times.isna()], "is no time", f"accepted are {ACCEPTED}")
    return times


def parse_times(texts: pd.Series, column: Column) -> pd.Series:
    """Times as numbers, whole ones where all are; dates become unix seconds, in UTC where no zone is given.

    Args:
        texts: text, numbers or times, indexed by line.
        column: where they stand.

    Returns:
        With the same index; NaN where there is no time in the form that most have.

    Raises:
        SourceError: seconds and milliseconds are mixed; or dates may begin with the month or with the day.
    """
    if isinstance(texts.dtype, pd.DatetimeTZDtype) or texts.dtype.kind == "M":
        return pd.Series(_seconds(pd.DatetimeIndex(pd.to_datetime(texts, utc=True))), texts.index)
    numbers = pd.to_numeric(texts, errors="coerce")
    no_number = ~np.isfinite(numbers.to_numpy(dtype=np.float64))
    dates = _dates(texts, column) if no_number.any() else None
    if dates is None or no_number.sum() < dates.isna().sum():
        _check_unit(numbers, texts, column)
        return _whole(numbers.mask(no_number))
    return pd.Series(_seconds(dates), texts.index).mask(dates.isna())


def look_like_times(values: pd.Series) -> bool:
    """Whether nearly all of the first values are dates, or numbers that are points in time of 1980 to 2100."""
    values = values.iloc[:_LOOKED_AT]
    if values.dtype.kind == "M" or isinstance(values.dtype, pd.DatetimeTZDtype):
        return True
    numbers = pd.to_numeric(values, errors="coerce").to_numpy(dtype=np.float64)
    if np.isnan(numbers).mean() < 1 - _SHARE:
        return sum(units(numbers).values()) >= _SHARE * len(numbers)
    return any(_parse(values.astype(str), form).notna().mean() >= _SHARE for form in _FORMATS + _SLASHES[0])


def units(times: NDArray[np.float64]) -> dict[str, int]:
    """How many times are points in time of 1980 to 2100 in each unit; units of none are left out."""
    counts = {name: int(_is_in(times, unit).sum()) for name, unit in UNITS.items()}
    return {name: count for name, count in counts.items() if count}


def _is_in(times: NDArray[np.float64], unit: int) -> NDArray[np.bool_]:
    return np.asarray((times >= _FIRST * unit) & (times < _LAST * unit))


def is_mixture(counts: dict[str, int], total: int) -> bool:
    """Whether times are points in time, in more than one unit.

    Args:
        counts: see :func:`units`.
        total: the number of all times.
    """
    return len(counts) > 1 and sum(counts.values()) >= _SHARE * total


def unit_of(times: NDArray[np.float64], users: NDArray[Any]) -> str:
    """What times seem to be counted in.

    Args:
        times: in the order of user and time, [interactions].
        users: whose each is, [interactions].
    """
    counts = units(times)
    if is_mixture(counts, len(times)):
        return f"a mixture: {', '.join(f'{count:,} in {name}' for name, count in counts.items())}"
    if sum(counts.values()) >= _SHARE * len(times):
        (name,) = counts
        return f"{name}, whole days" if not (times % (_DAY * UNITS[name])).any() else name
    begins = np.r_[True, users[1:] != users[:-1]]
    steps = np.diff(times, prepend=0)
    if (steps[~begins] == 1).all() and np.isin(times[begins], (0, 1)).all():
        return "places in the user's sequence"
    if not (times % 1).any() and times.min() >= _FIRST / _DAY and times.max() < _LAST / _DAY:
        return "days"
    if (times.min(), times.max()) == (0, 1):
        return "normalised by RecBole (normalize_all)"
    if len(np.unique(times)) == len(times) == np.ptp(times) + 1:
        return "places in the whole file"
    return "unknown"


def span_of(times: NDArray[np.float64], unit: str) -> str:
    """The first and the last time, as dates where the unit says so."""
    first, last = times.min(), times.max()
    per_second = 1 / _DAY if unit == "days" else UNITS.get(unit.partition(",")[0])
    if per_second is None:
        return f"{first:.15g} to {last:.15g}"
    return " to ".join(str(pd.Timestamp(time / per_second, unit="s").date()) for time in (first, last))


def _check_unit(numbers: pd.Series, texts: pd.Series, column: Column) -> None:
    times = numbers.to_numpy(dtype=np.float64)
    counts = units(times)
    if not is_mixture(counts, len(times)):
        return
    fewest = min(counts, key=lambda name: counts[name])
    found = " and ".join(f"{count:,} in {name}" for name, count in counts.items())
    raise column.error(
        texts[_is_in(times, UNITS[fewest])], f"is in {fewest}", f"the column has times {found}; write all in one unit"
    )


def _dates(texts: pd.Series, column: Column) -> pd.DatetimeIndex:
    """Dates in the format that reads most of the first ones; NaT where it does not."""
    codes, distinct = pd.factorize(texts.astype(str))
    return _parse(distinct, _format_of(distinct, column))[codes]


def _format_of(distinct: Sequence[str], column: Column) -> str:
    month_first, day_first = (
        next((form for form in forms if _parse(distinct[:_LOOKED_AT], form).notna().all()), "")
        for forms in zip(*_SLASHES, strict=True)
    )
    if month_first and day_first and _parse(distinct, month_first).notna().all():
        if not _parse(distinct, day_first).notna().all():
            return month_first
        raise SourceError(
            f"{column} holds dates such as [{distinct[0]}], which may begin with the month or with the day; write them "
            "as year-month-day"
        )
    return day_first or month_first or max(_FORMATS, key=lambda form: _parse(distinct[:_LOOKED_AT], form).notna().sum())


def _parse(texts: Sequence[str], form: str) -> pd.DatetimeIndex:
    plain = pd.Series(texts, dtype=object).str.strip().str.replace(r"\s*(?:UTC|GMT)$", "", regex=True)
    has_zone = plain.str.contains(r"(?:[+-]\d\d:?\d\d|Z)$")
    if form.endswith(" %z") and not has_zone.any():
        form = form.removesuffix(" %z")
    if form == _ISO and has_zone.any() and not has_zone.all():
        # pandas takes a time without a zone for one in the zone of the time before
        clock = plain.str.contains(":", regex=False).map({True: "Z", False: "T00:00Z"})
        plain = plain.where(has_zone, plain + clock)
    return pd.DatetimeIndex(pd.to_datetime(plain, format=form, utc=True, errors="coerce"))


def _seconds(dates: pd.DatetimeIndex) -> NDArray[np.int64] | NDArray[np.float64]:
    since_1970 = dates.as_unit("ns").asi8
    return np.asarray(since_1970 / 1e9 if (since_1970 % 10**9).any() else since_1970 // 10**9)


def _whole(numbers: pd.Series) -> pd.Series:
    if numbers.dtype.kind != "f" or not (numbers == np.floor(numbers)).all() or numbers.abs().max() >= 2**53:
        return numbers
    return numbers.astype(np.int64)
