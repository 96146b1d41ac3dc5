"""Tables in files of pyarrow: parquet, a folder of it, and feather."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from recbole_tslrec.data.content import SourceError, check_unpacked, kind_of
from recbole_tslrec.data.parquet_folder import FOLDER, folder_keys, open_folder, parts, schema_of

COLUMNAR = ("parquet", "feather")  # kinds of content of a file


def columnar_kind(path: Path) -> str | None:
    """One of :data:`COLUMNAR`, the kind of a folder, or ``None`` of anything else.

    Raises:
        SourceError: there is no such file.
    """
    kind = FOLDER if path.is_dir() else kind_of(path)
    return kind if kind in (*COLUMNAR, FOLDER) else None


def read_schema(path: Path, kind: str) -> pa.Schema:
    """The names and types of all columns.

    Args:
        path: the file or folder.
        kind: what :func:`columnar_kind` says of it.

    Raises:
        SourceError: the file is damaged; the parts of a folder have different columns.
    """
    with _whole(path, kind):
        if kind == FOLDER:
            return schema_of(path)
        return pq.read_schema(path) if kind == "parquet" else _open_feather(path).schema


def column_names(path: Path, kind: str) -> list[str]:
    """The names of all columns; see :func:`read_schema`."""
    return [str(name) for name in read_schema(path, kind).names]


def count_rows(path: Path, kind: str) -> int:
    """The rows that there are, by what the files say of themselves.

    Raises:
        SourceError: as :func:`read_schema`.
    """
    with _whole(path, kind):
        if kind == "feather":
            reader = _open_feather(path)
            return sum(reader.get_batch(number).num_rows for number in range(reader.num_record_batches))
        return sum(int(pq.read_metadata(part).num_rows) for part in _parts(path, kind))


def packed_size(path: Path, kind: str) -> int:
    """The bytes of the file, or of all parts."""
    return sum(part.stat().st_size for part in _parts(path, kind))


def _parts(path: Path, kind: str) -> list[Path]:
    return parts(path) if kind == FOLDER else [path]


def read_columns(path: Path, kind: str, names: Sequence[str]) -> pd.DataFrame:
    """Some columns, indexed by row from 1.

    Raises:
        SourceError: the file is damaged, or a column holds several values in a row.
    """
    table = read_table(path, kind, list(names))
    for name in names:
        if pa.types.is_nested(table.schema.field(name).type):
            raise SourceError(f"{path}: column [{name}] holds several values in a row; name one that holds one")
    # whole numbers stay whole beside missing ones, and what was an index of pandas is a column like any other
    frame = table.select(list(names)).to_pandas(ignore_metadata=True, integer_object_nulls=True, date_as_object=False)
    return frame.set_index(np.arange(1, len(frame) + 1))


def read_table(path: Path, kind: str, names: Sequence[str] | None = None) -> pa.Table:
    """Some columns, or all.

    Args:
        path: the file or folder.
        kind: what :func:`columnar_kind` says of it.
        names: which columns; ``None`` for all.

    Raises:
        SourceError: the file is damaged, or would take many times its size in memory, see
            :func:`~recbole_tslrec.data.content.check_unpacked`.
    """
    with _whole(path, kind):
        if kind == FOLDER:
            _check_parts(path, names)
            return open_folder(path).to_table(columns=names)
        if kind == "parquet":
            check_unpacked(path, path.stat().st_size, _parquet_size(path, names))
            return pq.read_table(path, columns=names)
        reader = _open_feather(path)
        table = pa.Table.from_batches(_feather_batches(path, reader), reader.schema)
        return table if names is None else table.select(names)


@contextmanager
def _whole(path: Path, kind: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"{path} is no whole {kind} file ({str(error).splitlines()[0]}); write it again") from error


def read_batches(path: Path, kind: str) -> Iterator[pa.RecordBatch]:
    """All columns, some rows at a time.

    Raises:
        SourceError: as :func:`read_table`.
    """
    with _whole(path, kind):
        if kind == "feather":
            yield from _feather_batches(path, _open_feather(path))
            return
        check_unpacked(path, path.stat().st_size, _parquet_size(path, None))
        with pq.ParquetFile(path) as file:
            yield from file.iter_batches()


def _check_parts(folder: Path, names: Sequence[str] | None) -> None:
    """Refuse a folder whose parts together, or the first ones of them, unpack to too much."""
    packed = unpacked = 0
    for part in parts(folder):
        packed += part.stat().st_size
        unpacked += _parquet_size(part, names)
        values = [value for key, value in folder_keys(folder, part).items() if names is None or key in names]
        if values:  # of each row
            unpacked += sum(len(value) + 4 for value in values) * int(pq.read_metadata(part).num_rows)
        check_unpacked(folder, packed, unpacked)


def _open_feather(path: Path) -> pa.ipc.RecordBatchFileReader:
    return pa.ipc.open_file(pa.memory_map(str(path)))


def _feather_batches(path: Path, reader: pa.ipc.RecordBatchFileReader) -> Iterator[pa.RecordBatch]:
    """Each as it is unpacked: of too many the first ones are the last."""
    size = 0
    for number in range(reader.num_record_batches):
        batch = reader.get_batch(number)
        size += sum(map(_size, batch.columns))
        check_unpacked(path, path.stat().st_size, size)
        yield batch


def _parquet_size(path: Path, names: Sequence[str] | None) -> int:
    """The bytes of columns in memory, without reading the numbers.

    A repeated value takes next to nothing in the file, so the sizes that the file states of itself say little.
    """
    with pq.ParquetFile(path) as file:
        metadata, schema, columns = file.metadata, file.schema, file.schema_arrow.names
    size, texts = 0, dict[str, str]()  # the column of each text in it
    for group, place in product(range(metadata.num_row_groups), range(metadata.num_columns)):
        column = metadata.row_group(group).column(place)
        path_in_file = column.path_in_schema
        name = max((name for name in columns if f"{path_in_file}.".startswith(f"{name}.")), key=len)
        if names is not None and name not in names:
            continue
        if column.physical_type == "BYTE_ARRAY":
            texts[path_in_file] = name
        width = _WIDTHS.get(column.physical_type, schema.column(place).length)
        size += int(width * column.num_values)
    if texts:
        as_stored = pq.read_table(path, columns=sorted(set(texts.values())), read_dictionary=list(texts))
        size += sum(_size(chunk) for column in as_stored.columns for chunk in column.chunks)
    return size


def _size(array: pa.Array) -> int:
    """The bytes of an array in memory when each of its values is written out."""
    if pa.types.is_struct(array.type):
        return sum(map(_size, array.flatten()))
    if pa.types.is_list(array.type) or pa.types.is_large_list(array.type):
        return 4 * len(array) + _size(array.flatten())
    if not pa.types.is_dictionary(array.type):
        return int(array.nbytes)
    kind = array.type.value_type
    if not (pa.types.is_binary(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        return int(len(array) * array.dictionary.nbytes / max(1, len(array.dictionary)))
    lengths = pc.binary_length(array.dictionary).cast(pa.int64())
    return int(pc.sum(lengths.take(array.indices)).as_py() or 0)


_WIDTHS = {"BOOLEAN": 1, "INT32": 4, "INT64": 8, "INT96": 12, "FLOAT": 4, "DOUBLE": 8, "BYTE_ARRAY": 4}  # bytes
