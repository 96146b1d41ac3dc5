"""A user a row with lists, and folders of files, give the interactions that one a row gives; faults name the row."""

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

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


def test_folder_of_parquet_files_is_one_source(tmp_path: Path) -> None:
    write(tmp_path / "source" / "day=1" / "part-0.parquet", LISTS)
    write(tmp_path / "source" / "day=2" / "part-0.parquet", {"user_id": ["w"], "item_id": [[9]], "timestamp": [[1]]})
    (tmp_path / "source" / "_SUCCESS").touch()
    (tmp_path / "source" / "day=2" / "._part-0.parquet").write_text("no data")
    read = read_source(tmp_path / "source")
    assert read.frame["user"].tolist() == ["u", "u", "v", "w"]
    assert read.lines == 3


BAD = {
    "no list": (
        {**LISTS, "item_id": [[3, 1], None]},
        r"row 2: column \[item_id\] has no list, or an empty one",
    ),
    "an empty list": ({**LISTS, "item_id": [[], [1]]}, r"row 1: column \[item_id\] has no list, or an empty one"),
    "a gap": ({**LISTS, "item_id": [[3, 1], [None]]}, r"row 2: a value in the list of column \[item_id\] is missing"),
    "a time too few": ({**LISTS, "timestamp": [[20], [5]]}, r"row 1: .*\[timestamp\] has 1 values, and .* has 2 items"),
    "one time": (
        {**LISTS, "timestamp": [1, 2]},
        r"items in each row, and \[timestamp\] one value; give",
    ),
    "lists of users": (
        {**LISTS, "user_id": [["u"], ["v"]]},
        r"\[user_id\] holds several values in a row; a row is",
    ),
    "lists of lists": ({**LISTS, "item_id": [[[3], [1]], [[2]]]}, r"\[item_id\] holds lists of lists or of objects"),
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


def test_file_of_a_folder_that_lacks_a_column_is_named(tmp_path: Path) -> None:
    write(tmp_path / "source" / "a.parquet", LISTS)
    write(tmp_path / "source" / "b.parquet", {"user_id": ["w"], "item_id": [[9]]})
    with pytest.raises(SourceError, match=r"b\.parquet has no column timestamp, which other files of .*source have"):
        read_source(tmp_path / "source")


def test_folder_without_parquet_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="is a folder without parquet files; name a file in it; check --source"):
        read_source(tmp_path)
