"""A folder of parquet is one table, whatever lies beside its parts; parts that do not fit are named."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recbole_tslrec.data import content
from recbole_tslrec.data.content import SourceError
from recbole_tslrec.data.importing import import_dataset
from recbole_tslrec.data.sources import read_source

NAMES = ("user_id", "item_id", "timestamp")


def row(user: str = "u", item: str = "x", time: object = 1) -> dict[str, Any]:
    """A table of one interaction."""
    return dict(zip(NAMES, ([user], [item], [time]), strict=True))


def write(path: Path, columns: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
    return path


def test_parts_are_read_in_order_and_all_else_that_spark_writes_is_ignored(tmp_path: Path) -> None:
    for number in (10, 9, 1):
        write(tmp_path / f"part-{number}.parquet", row(f"u{number}"))
    write(tmp_path / "_delta_log" / "part-0.parquet", {"other": [1]})
    (tmp_path / "_SUCCESS").touch()
    (tmp_path / ".part-1.parquet.crc").write_bytes(b"crc\0")
    read = read_source(tmp_path)
    assert read.frame["user"].tolist() == ["u1", "u9", "u10"]
    assert (read.form, read.unit, read.lines) == ("columnar", "row", 3)


def test_lists_are_read_from_all_parts(tmp_path: Path) -> None:
    write(tmp_path / "0.parquet", {"who": ["u", "v"], "items": [["a", "b"], ["c"]]})
    write(tmp_path / "1.parquet", {"who": pa.array([], pa.string()), "items": pa.array([], pa.list_(pa.string()))})
    write(tmp_path / "2.parquet", {"who": ["w"], "items": [["a"]]})
    assert read_source(tmp_path).frame.to_numpy().tolist() == [
        ["u", "a", 1],
        ["u", "b", 2],
        ["v", "c", 1],
        ["w", "a", 1],
    ]


def test_folders_with_values_are_columns_of_text(tmp_path: Path) -> None:
    for user in ("007", "a b"):
        path = tmp_path / "table" / f"user_id={user.replace(' ', '%20')}" / "day=2026-03-01" / "part-0.parquet"
        write(path, {"item_id": ["x"]})
    read = read_source(tmp_path / "table", columns=("user_id", "item_id", "day"))
    assert read.frame.to_numpy().tolist() == [["007", "x", 1772323200], ["a b", "x", 1772323200]]


def test_column_that_is_in_the_files_too_is_theirs(tmp_path: Path) -> None:
    """As Polars writes its partitions."""
    write(tmp_path / "timestamp=5" / "0.parquet", row(time=5))
    assert read_source(tmp_path).frame.to_numpy().tolist() == [["u", "x", 5]]


@pytest.mark.parametrize(
    ("name", "columns", "why"),
    [
        (
            "b.parquet",
            {"user_id": ["u"], "item_id": ["x"]},
            r"b\.parquet lacks column \[timestamp\], unlike the first part",
        ),
        ("b.parquet", {**row(), "more": [1]}, r"b\.parquet has column \[more\], unlike the first part \(a\.parquet\)"),
        ("b.parquet", row(time="noon"), r"has column \[timestamp\] as string, not as the int64 of the first part"),
        ("day=1/b.parquet", row(), r"b\.parquet lies in day=\.\.\., but the first part in no folder key=value"),
    ],
)
def test_part_with_other_columns_is_named(tmp_path: Path, name: str, columns: dict[str, Any], why: str) -> None:
    write(tmp_path / "a.parquet", row())
    write(tmp_path / name, columns)
    with pytest.raises(SourceError, match=why):
        read_source(tmp_path)


def test_file_that_is_no_parquet_is_named(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", row())
    (tmp_path / "notes.txt").write_text("what this is")
    with pytest.raises(SourceError, match=r"notes\.txt is no parquet file, as the others in .* are; take it out"):
        read_source(tmp_path)


def test_damaged_part_is_named(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", row())
    part = write(tmp_path / "b.parquet", row())
    part.write_bytes(part.read_bytes()[:-9])
    with pytest.raises(SourceError, match=r"b\.parquet is no whole parquet file .*; write it again"):
        read_source(tmp_path)


@pytest.mark.parametrize("names", [[], ["part-0.csv", "part-1.csv"], ["_SUCCESS"]])
def test_folder_without_parquet_is_refused(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        (tmp_path / name).write_text("u,x,1")
    others = r" \(the first of 2 other files is part-0\.csv\)" if len(names) == 2 else ""
    with pytest.raises(SourceError, match=rf"is a folder without parquet files{others}; name one with them, or a file"):
        read_source(tmp_path)


def test_parts_together_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of them is below what is free."""
    for number in range(4):
        write(tmp_path / f"{number}.parquet", {name: ["x" * 1000] * 1000 for name in NAMES[:2]})
    assert len(read_source(tmp_path, columns=NAMES[:2]).frame) == 4000
    monkeypatch.setattr(content, "UNPACKED_FREE", 5_000_000)  # a part is 2 MB
    with pytest.raises(SourceError, match=r"unpacks to more than 200 times its size"):
        read_source(tmp_path, columns=NAMES[:2])


def test_source_that_is_the_dataset_itself_is_not_replaced(tmp_path: Path) -> None:
    part = write(tmp_path / "data" / "toy" / "0.parquet", row())
    with pytest.raises(SourceError, match="move it out first"):
        import_dataset("toy", part.parent, tmp_path / "data", overwrite=True)
    assert part.exists()
