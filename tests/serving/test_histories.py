"""Histories come out of every form in which people have them."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from recbole_tslrec.data.content import SourceError
from recbole_tslrec.serving.histories import given_histories, read_histories

HISTORIES = {"u1": ["i3", "i1"], "7": ["i2", "12", "i3"]}
# an interaction a row, users mixed and not in the order of time
ROWS = pd.DataFrame(
    [("7", "12", 20), ("u1", "i3", 5), ("7", "i2", 10), ("u1", "i1", 7), ("7", "i3", 30)],
    columns=["user_id", "item_id", "timestamp"],
)
IN_ORDER = ROWS.sort_values("timestamp")
LISTS = pd.DataFrame({"user": list(HISTORIES), "items": list(HISTORIES.values())})
PATH = Path("input")  # its name says nothing


def found() -> dict[str, list[Any]]:
    histories = list(read_histories(PATH))
    assert not [history.fault for history in histories if history.fault]
    return {history.user: list(history.items) for history in histories}


def write(text: str, encoding: str = "utf-8") -> None:
    PATH.write_text(text, encoding=encoding, newline="")


def lines(frame: pd.DataFrame) -> str:
    return frame.to_json(orient="records", lines=True)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_json_lines(encoding: str, end: str) -> None:
    write(lines(LISTS).replace("\n", end), encoding)
    assert found() == HISTORIES


def test_packed() -> None:
    PATH.write_bytes(gzip.compress(lines(LISTS).encode()))
    assert found() == HISTORIES


@pytest.mark.parametrize("to", [pd.DataFrame.to_parquet, pd.DataFrame.to_feather])
@pytest.mark.parametrize("frame", [LISTS, ROWS, IN_ORDER.drop(columns="timestamp").reset_index(drop=True)])
def test_columnar_files(to: Callable[[pd.DataFrame, Path], None], frame: pd.DataFrame) -> None:
    to(frame, PATH)
    assert found() == HISTORIES


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_lists_in_tables_of_text(separator: str) -> None:
    """As pandas writes them, as JSON, and with blanks or commas between."""
    for write_list in (str, json.dumps, " ".join, ", ".join):
        write(LISTS.assign(items=LISTS["items"].map(write_list)).to_csv(sep=separator, index=False))
        assert found() == HISTORIES


@pytest.mark.parametrize("name", ["times", "timestamps", "timestamp", "time"])
def test_items_with_times_beside_them_are_put_in_order(name: str) -> None:
    """The same user's rows, one an interaction, are too; equal times keep the order of the list."""
    write(json.dumps({"user": "a", "items": ["third", "first", "second"], name: [2.5, 1, 1]}))
    assert found() == {"a": ["first", "second", "third"]}


@pytest.mark.parametrize("times", [[1], [1, None], [1, "soon"]])
def test_times_that_are_not_one_number_for_each_item_are_a_fault(times: list[Any]) -> None:
    write(json.dumps({"user": "a", "items": ["i1", "i2"], "times": times}))
    (history,) = read_histories(PATH)
    assert history.fault == "has times beside its items that are not one number for each"


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("names", ["user_id item_id timestamp", "userId movieId time", "User,Item,Date", None])
def test_an_interaction_a_line(separator: str, names: str | None) -> None:
    header = names.replace(",", " ").split() if names else ["user_id:token", "item_id:token", "timestamp:float"]
    write(ROWS.set_axis(header, axis=1).to_csv(sep=separator, index=False))
    assert found() == HISTORIES


def test_without_times_the_order_is_that_of_the_file() -> None:
    write(IN_ORDER.drop(columns="timestamp").to_csv(index=False))
    assert found() == HISTORIES


@pytest.mark.parametrize("unit", ["D", "s"])
def test_times_may_be_dates(unit: str) -> None:
    write(ROWS.assign(timestamp=pd.to_datetime(ROWS["timestamp"], unit=unit)).to_csv(index=False))
    assert found() == HISTORIES


def test_whole_numbers_are_tokens() -> None:
    pd.DataFrame({"user_id": [1.0, 1.0], "item_id": [30, 4]}).to_parquet(PATH)
    assert found() == {"1": ["30", "4"]}


def faults() -> list[tuple[str, str]]:
    return [(history.place, history.fault) for history in read_histories(PATH) if history.fault]


@pytest.mark.parametrize("items", ["50", None, 5, {"i1", "i2"}, {"i1": 5}])
def test_a_history_from_python_is_a_list(items: object) -> None:
    """A text would be taken for a list of its letters, and a set has no order."""
    (history,) = given_histories({"a": items})  # type: ignore[dict-item]
    assert history.fault == f"has no list of items, but {items!r}"


def test_histories_from_python_are_by_user() -> None:
    with pytest.raises(ValueError, match=r"give histories by user, .* not a list"):
        given_histories(["i1"])  # type: ignore[arg-type]


def test_bad_rows_of_a_table_are_named() -> None:
    write("user_id,item_id,timestamp\nu,i1,5\nu,i2\n,i3,6\nu,NULL,7\nu,i4,\nu,i5,3\n")
    assert faults() == [
        ("line 3", "has more or fewer fields than the 3 columns"),
        ("line 4", "has no user"),
        ("line 5", "has no item"),
        ("line 6", "has no time"),
    ]
    assert [list(history.items) for history in read_histories(PATH) if not history.fault] == [["i5", "i1"]]


def test_bad_rows_of_a_columnar_file_are_named() -> None:
    pd.DataFrame({"user": ["a", None, "c"], "items": [["i1"], ["i1"], None]}).to_parquet(PATH)
    assert faults() == [
        ("row 2", "has no user that is text or a whole number"),
        ("row 3 (user 'c')", "has no list of items"),
    ]


@pytest.mark.parametrize(("late", "early"), [("5", "3"), ("2020-09-19", "2020-09-18")])
def test_a_time_that_is_none_is_named(late: str, early: str) -> None:
    write(f"user_id,item_id,timestamp\nu,i1,{late}\nu,i2,soon\nu,i3,{early}\n")
    assert faults() == [("line 3", "has a time that is none")]
    assert [list(history.items) for history in read_histories(PATH) if not history.fault] == [["i3", "i1"]]


def test_what_is_no_table() -> None:
    PATH.write_bytes(b"\x80\x04pickle")
    with pytest.raises(SourceError, match="is a pickle file"):
        list(read_histories(PATH))


def test_an_empty_file_has_no_histories() -> None:
    write("\n")
    assert list(read_histories(PATH)) == []
