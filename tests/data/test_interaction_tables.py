"""A user a row, with lists, gives the interactions that one a row gives; faults name the row and its user."""

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recbole_tslrec.data import content
from recbole_tslrec.data.content import SourceError
from recbole_tslrec.data.importing import import_dataset
from recbole_tslrec.data.sources import read_source

LISTS = {"user_id": ["u", "v"], "item_id": [[3, 1], [2]], "timestamp": [[20, 10], [5]]}
NAMES = ("user_id", "item_id", "timestamp")


def write(path: Path, columns: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
    return path


def test_a_user_a_row_is_an_interaction_for_each_item(tmp_path: Path) -> None:
    read = read_source(write(tmp_path / "lists.parquet", LISTS))
    assert read.frame.to_numpy().tolist() == [["u", "3", 20], ["u", "1", 10], ["v", "2", 5]]
    assert (read.form, read.unit, read.lines) == ("columnar", "row", 2)


def test_lists_without_times_are_in_order(tmp_path: Path) -> None:
    path = write(tmp_path / "lists.parquet", {name: LISTS[name] for name in NAMES[:2]})
    read = read_source(path, columns=NAMES[:2])
    assert read.frame.to_numpy().tolist() == [["u", "3", 1], ["u", "1", 2], ["v", "2", 1]]


def test_what_polars_writes_is_read(tmp_path: Path) -> None:
    """Large lists of large texts."""
    lists = pa.array([["b", "a"], ["c"]], pa.large_list(pa.large_string()))
    path = write(tmp_path / "lists.parquet", {**LISTS, "item_id": lists})
    assert read_source(path).frame["item"].tolist() == ["b", "a", "c"]


def test_import_of_lists_is_that_of_an_interaction_a_row(tmp_path: Path) -> None:
    flat = pd.DataFrame({"user_id": ["u", "u", "v"], "item_id": [3, 1, 2], "timestamp": [20, 10, 5]})
    flat.to_parquet(tmp_path / "flat.parquet")
    for name, path in (("a", tmp_path / "flat.parquet"), ("b", write(tmp_path / "lists.parquet", LISTS))):
        import_dataset(name, path, tmp_path / "data")
    files = [tmp_path / "data" / name / f"{name}.inter" for name in "ab"]
    assert files[0].read_text() == files[1].read_text()


def test_missing_times_are_said(tmp_path: Path) -> None:
    path = write(tmp_path / "lists.parquet", {name: LISTS[name] for name in NAMES[:2]})
    imported = import_dataset("toy", path, tmp_path / "data", columns=NAMES[:2])
    assert imported.account().splitlines() == [
        "read as columnar, user_id as user, item_id as item: 2 rows",
        "3 interactions read, 3 kept",
        "no times: the place in the user's sequence stands for each, from 1",
    ]


@pytest.mark.parametrize("zone", [None, "UTC", "Asia/Tokyo"])
def test_times_of_a_zone_are_seconds_in_utc(tmp_path: Path, zone: str | None) -> None:
    times = pa.array([[9_000_000, 8_000_000], [7_000_000]], pa.list_(pa.timestamp("us", zone)))
    assert read_source(write(tmp_path / "lists.parquet", {**LISTS, "timestamp": times})).frame["time"].tolist() == [
        9,
        8,
        7,
    ]


def test_categories_are_texts(tmp_path: Path) -> None:
    users = pa.array(["v", "u"]).dictionary_encode()
    items = pa.ListArray.from_arrays([0, 2, 3], pa.array(["b", "a", "b"]).dictionary_encode())
    read = read_source(write(tmp_path / "lists.parquet", {"who": users, "items": items}))
    assert read.frame.to_numpy().tolist() == [["v", "b", 1], ["v", "a", 2], ["u", "b", 1]]


TEXTS = [["b", "a"], ["c"]]
FOUND = {
    "a list": ({"who": ["u", "v"], "collect_list(x)": TEXTS}, [1, 2, 1]),
    "a list beside what is no token": ({"who": ["u", "v"], "x": TEXTS, "share": [0.5, 1]}, [1, 2, 1]),
    "times by their type": (
        {"a": pa.array([[9, 8], [7]], pa.list_(pa.timestamp("s"))), "b": TEXTS, "who": ["u", "v"]},
        [9, 8, 7],
    ),
    "times by their name": ({"who": ["u", "v"], "x": [[9, 8], [7]], "Times": [[3, 4], [5]]}, [3, 4, 5]),
    "times by their values": (
        {"who": ["u", "v"], "a": [[1600000009, 1600000008], [1600000007]], "b": TEXTS},
        [1600000009, 1600000008, 1600000007],
    ),
}


@pytest.mark.parametrize(("columns", "times"), FOUND.values(), ids=FOUND)
def test_columns_are_found(tmp_path: Path, columns: dict[str, Any], times: list[int]) -> None:
    read = read_source(write(tmp_path / "lists.parquet", columns))
    assert read.frame["user"].tolist() == ["u", "u", "v"]
    assert read.frame["time"].tolist() == times


def test_ratings_are_not_taken_for_times(tmp_path: Path) -> None:
    path = write(tmp_path / "lists.parquet", {"who": ["u", "v"], "x": TEXTS, "stars": [[5, 3], [4]]})
    with pytest.raises(
        SourceError, match=r"not clear which of \[x\] and \[stars\] .* --columns=who,items if there are no"
    ):
        read_source(path)
    assert read_source(path, columns=("who", "x")).frame["item"].tolist() == ["b", "a", "c"]


def test_lists_beside_an_interaction_a_row_are_left_alone(tmp_path: Path) -> None:
    columns = {"user_id": ["u"], "item_id": ["x"], "timestamp": [1], "tags": [["a", "b"]]}
    assert read_source(write(tmp_path / "flat.parquet", columns)).frame.to_numpy().tolist() == [["u", "x", 1]]


def test_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    columns = [pa.array(["u"]), pa.array([["a"]]), pa.array([[1]])]
    pq.write_table(pa.Table.from_arrays(columns, ["who", "x", "x"]), tmp_path / "lists.parquet")
    with pytest.raises(SourceError, match=r"has several columns \[x\]; give each a name of its own"):
        read_source(tmp_path / "lists.parquet")


def test_user_with_several_rows_needs_times(tmp_path: Path) -> None:
    path = write(tmp_path / "lists.parquet", {**LISTS, "user_id": ["u", "u"]})
    assert read_source(path, columns=NAMES).frame["time"].tolist() == [20, 10, 5]
    with pytest.raises(
        SourceError, match=r"row 2, user \[u\]: column \[user_id\] names that user again; without times"
    ):
        read_source(path, columns=NAMES[:2])


def test_rows_written_out_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long id of one user, once in the file, stands before each of the user's items in the dataset."""
    path = write(tmp_path / "lists.parquet", {"user_id": ["u" * 500], "item_id": [[1] * 100_000]})
    assert len(read_source(path).frame) == 100_000
    monkeypatch.setattr(content, "UNPACKED_FREE", 1 << 21)  # more than the file's own columns
    with pytest.raises(SourceError, match=r"bytes of it to 50,000,000 or more"):
        read_source(path)


BAD = {
    "no list": ({**LISTS, "item_id": [[3, 1], None]}, r"row 2, user \[v\]: column \[item_id\] has no list; delete"),
    "no list of times": (
        {**LISTS, "timestamp": pa.array([None, None], pa.list_(pa.int64()))},
        r"user \[u\]: .*\[timestamp\] has no list; 2 rows are",
    ),
    "an empty list": ({**LISTS, "item_id": [[], [1]]}, r"row 1, user \[u\]: column \[item_id\] has an empty list"),
    "a gap": ({**LISTS, "item_id": [[3, 1], [None]]}, r"row 2, user \[v\]: .*\[item_id\] has a list with a null in it"),
    "a time that is no number": ({**LISTS, "timestamp": [[1, float("nan")], [5]]}, r"\[u\]: .*\[timestamp\] .* a null"),
    "a time too few": (
        {**LISTS, "timestamp": [[20], [5]]},
        r"row 1, user \[u\]: column \[item_id\] has 2 items, but column \[timestamp\] 1 times; each item has",
    ),
    "one time": ({**LISTS, "timestamp": [1, 2]}, r"\[timestamp\] holds no lists as \[item_id\] does, but int64; name"),
    "no user": ({**LISTS, "user_id": ["u", None]}, r"row 2: column \[user_id\] has no id: \[None\]"),
    "lists of users": ({**LISTS, "user_id": [["u"], ["v"]]}, r"\[user_id\] holds several values in a row; name one"),
    "lists of lists": (
        {**LISTS, "item_id": [[[3], [1]], [[2]]]},
        r"\[item_id\] holds lists of list.*; write items and",
    ),
    "pairs": ({**LISTS, "item_id": [[{"a": 1}], [{"a": 2}]]}, r"\[item_id\] holds lists of struct.* pairs\.item as"),
}


@pytest.mark.parametrize(("columns", "message"), BAD.values(), ids=BAD)
def test_faulty_lists_are_named(tmp_path: Path, columns: dict[str, Any], message: str) -> None:
    path = write(tmp_path / "lists.parquet", columns)
    with pytest.raises(SourceError, match=message):
        read_source(path, columns=NAMES)


def test_missing_column_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "lists.parquet", {"user_id": ["u"], "item_id": [[1]]})
    with pytest.raises(SourceError, match=r"has no column \[timestamp\]; it has the columns user_id, item_id"):
        read_source(path, columns=NAMES)
