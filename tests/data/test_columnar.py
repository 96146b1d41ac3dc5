"""Columns of parquet and feather files, as long as they are not much more than their files."""

from pathlib import Path

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest

from recbole_tslrec.data import content
from recbole_tslrec.data.columnar import COLUMNAR, column_names, read_batches, read_columns, read_table
from recbole_tslrec.data.content import SourceError

ROWS = 1 << 16
NAMES = {"short": ["u"] * ROWS, "number": list(range(ROWS)), "other": [1] * ROWS}
WRITE = {"parquet": pyarrow.parquet.write_table, "feather": pyarrow.feather.write_feather}


def written(folder: Path, kind: str, columns: dict[str, object]) -> Path:
    """A file of a kind."""
    WRITE[kind](pa.table(columns), str(folder / kind))
    return folder / kind


@pytest.mark.parametrize("kind", COLUMNAR)
def test_some_columns_are_read_by_row_from_1(tmp_path: Path, kind: str) -> None:
    path = written(tmp_path, kind, {"a": [7, None], "b": ["x", "y"], "c": [0.5, 1.5]})
    assert column_names(path, kind) == ["a", "b", "c"]
    frame = read_columns(path, kind, ["b", "a"])
    assert list(frame.index) == [1, 2]
    assert frame.to_dict("list") == {"b": ["x", "y"], "a": [7, None]}
    rows = [row for batch in read_batches(path, kind) for row in batch.to_pylist()]
    assert rows == [{"a": 7, "b": "x", "c": 0.5}, {"a": None, "b": "y", "c": 1.5}]


REPEATED = {
    "text": ["x" * 1000] * ROWS,  # 62 MiB
    "texts in lists": [["x" * 1000]] * ROWS,
    "texts in objects": [{"key": "x" * 1000}] * ROWS,
    "a category": pa.array(["x" * 1000] * ROWS).dictionary_encode(),
    "numbers": [0.5] * (100 * ROWS),  # 50 MiB
    "numbers in lists": [[0.5] * 100] * ROWS,
}


@pytest.mark.parametrize("values", REPEATED.values(), ids=REPEATED)
@pytest.mark.parametrize("kind", COLUMNAR)
def test_what_is_repeated_in_a_small_file_does_not_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, values: object
) -> None:
    path = written(tmp_path, kind, {"column": values})
    assert read_table(path, kind).num_rows >= ROWS  # below what is free
    monkeypatch.setattr(content, "UNPACKED_FREE", 1 << 20)
    monkeypatch.setattr(content, "UNPACKED_RATIO", 2)
    for read in (read_table, lambda *given: list(read_batches(*given))):
        with pytest.raises(SourceError, match=rf"{kind} unpacks to more than 2 times its size: .* bytes of it to \d"):
            read(path, kind)


@pytest.mark.parametrize("kind", COLUMNAR)
def test_ordinary_tables_are_as_large_as_they_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Sizes by hand: a text is its bytes and an offset of 4, a number 8 bytes."""
    counted: list[int] = []
    monkeypatch.setattr("recbole_tslrec.data.columnar.check_unpacked", lambda _, packed, size: counted.append(size))
    read_table(written(tmp_path, kind, NAMES), kind)
    by_hand = (1 + 4 + 8 + 8) * ROWS
    assert by_hand <= counted[-1] < 1.01 * by_hand


def test_columns_that_are_not_asked_for_do_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, "parquet", {"column": REPEATED["text"], "id": list(range(ROWS))})
    monkeypatch.setattr(content, "UNPACKED_FREE", 1 << 20)
    monkeypatch.setattr(content, "UNPACKED_RATIO", 2)
    assert read_table(path, "parquet", ["id"]).column_names == ["id"]
