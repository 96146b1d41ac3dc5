"""Times that people write become numbers in the same order; what is no time is named, and nothing is filled in."""

import numpy as np
import pandas as pd
import pytest

from recbole_tslrec.data.content import SourceError
from recbole_tslrec.data.identifiers import Column
from recbole_tslrec.data.times import look_like_times, parse_times, read_times, span_of, unit_of

COLUMN = Column("given.csv", "when")
SECONDS = 1_600_540_400  # 2020-09-19T18:33:20Z, a Saturday
DAY = SECONDS - SECONDS % 86_400


def series(*values: object) -> pd.Series:
    """From line 2, as behind a header."""
    return pd.Series(values, range(2, len(values) + 2), dtype=object)


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("1600540400", SECONDS),
        ("1600540400.0", SECONDS),
        ("1600540400.25", SECONDS + 0.25),
        ("-5", -5),
        ("1600540400123", 1_600_540_400_123),  # milliseconds stay what they are
        ("2020-09-19T18:33:20Z", SECONDS),
        ("2020-09-19T20:33:20+02:00", SECONDS),
        ("2020-09-19 18:33:20", SECONDS),
        ("2020-09-19 18:33:20 UTC", SECONDS),
        ("2020-09-19T18:33:20.500Z", SECONDS + 0.5),
        ("2020-09-19", DAY),
        ("2020/09/19", DAY),
        ("Sat, 19 Sep 2020 18:33:20 GMT", SECONDS),
        ("Sat, 19 Sep 2020 20:33:20 +0200", SECONDS),
        ("Sat Sep 19 11:33:20 -0700 2020", SECONDS),
        ("Sat Sep 19 18:33:20 2020", SECONDS),
        ("19-Sep-2020", DAY),
        ("September 19, 2020", DAY),
        ("09 19, 2020", DAY),
        ("09/19/2020", DAY),
        ("19/09/2020 18:33:20", SECONDS),
        (pd.Timestamp(SECONDS, unit="s"), SECONDS),
    ],
)
def test_a_time_is_read(written: object, seconds: float) -> None:
    found = read_times(series(written), COLUMN)
    assert found.tolist() == [seconds]
    assert (found.dtype == np.int64) == (seconds % 1 == 0)


def test_zones_of_one_column_are_told_apart() -> None:
    assert read_times(series("2020-09-19T10:00:00+02:00", "2020-09-19T08:30:00"), COLUMN).diff().iloc[1] == 1800


@pytest.mark.parametrize("nothing", ["", " ", "NULL", "NaN", None, float("nan")])
def test_a_missing_time_is_never_filled_in(nothing: object) -> None:
    with pytest.raises(SourceError, match=r"given\.csv, line 3: column \[when\] has no time.*2 lines are like that"):
        read_times(series("1", nothing, nothing), COLUMN)


@pytest.mark.parametrize(("good", "bad"), [("12", "noon"), ("2020-09-19", "noon"), ("2020-09-19", "12"), ("12", "inf")])
def test_what_is_no_time_is_named_with_what_would_be_one(good: str, bad: str) -> None:
    with pytest.raises(SourceError, match=rf"line 4: column \[when\] is no time: \[{bad}\]; accepted are numbers"):
        read_times(series(good, good, bad), COLUMN)


@pytest.mark.parametrize(("good", "number"), [("12", 12), ("1970-01-02", 86_400)])
def test_a_value_in_another_form_than_most_is_left_open(good: str, number: int) -> None:
    found = parse_times(series(good, "noon", good), COLUMN)
    assert found.isna().tolist() == [False, True, False]
    assert found.iloc[0] == found.iloc[2] == number


def test_dates_that_may_begin_with_day_or_month_are_refused() -> None:
    with pytest.raises(SourceError, match=r"\[03/04/2020\], which may begin with the month or with the day"):
        read_times(series("03/04/2020", "05/04/2020"), COLUMN)


def test_a_mixture_of_units_is_refused_with_counts() -> None:
    with pytest.raises(SourceError, match=r"line 4: .* is in milliseconds.*2 in seconds and 1 in milliseconds"):
        read_times(series(str(SECONDS), str(SECONDS + 1), str(SECONDS * 1000)), COLUMN)


def test_relative_times_of_any_size_are_no_mixture() -> None:
    written = [10**exponent for exponent in range(18)]
    assert read_times(series(*map(str, written)), COLUMN).tolist() == written


@pytest.mark.parametrize(
    ("values", "are_times"),
    [
        (["1600540400", "1600540401"], True),
        (["1600540400000"], True),
        (["2020-09-19T18:33:20Z"], True),
        (["11", "3"], False),
        (["B000052YPE"], False),
        (["7"], False),
    ],
)
def test_columns_of_times_are_known(values: list[str], are_times: bool) -> None:
    assert look_like_times(series(*values)) == are_times


@pytest.mark.parametrize(
    ("times", "unit", "span"),
    [
        ([SECONDS, SECONDS + 1, SECONDS], "seconds", "2020-09-19 to 2020-09-19"),
        ([DAY, DAY + 86_400, DAY], "seconds, whole days", "2020-09-19 to 2020-09-20"),
        ([SECONDS * 1000, SECONDS * 1000 + 1, SECONDS * 1000], "milliseconds", "2020-09-19 to 2020-09-19"),
        ([DAY / 86_400, DAY / 86_400 + 1, DAY / 86_400], "days", "2020-09-19 to 2020-09-20"),
        ([1, 2, 1], "places in the user's sequence", "1 to 2"),
        ([7, 9, 8], "places in the whole file", "7 to 9"),
        ([0, 0.5, 1], "normalised by RecBole (normalize_all)", "0 to 1"),
        ([40.5, 2000, 17], "unknown", "17 to 2000"),
        (
            [SECONDS, SECONDS * 1000, SECONDS],
            "a mixture: 2 in seconds, 1 in milliseconds",
            f"{SECONDS} to {SECONDS}000",
        ),
    ],
)
def test_unit_and_span(times: list[float], unit: str, span: str) -> None:
    """Two users, the first with two interactions."""
    array = np.array(times, dtype=np.float64)
    assert unit_of(array, np.array([1, 1, 2])) == unit
    assert span_of(array, unit) == span
