"""Tables in files of pyarrow: parquet and feather."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from recbole_tslrec.data.content import SourceError, check_unpacked

COLUMNAR = ("parquet", "feather")  # kinds of content


def column_names(path: Path, kind: str) -> list[str]:
    """The names of all columns.

    Raises:
        SourceError: the file is damaged.
    """
    with _whole(path, kind):
        schema = pq.read_schema(path) if kind == "parquet" else _open_feather(path).schema
    return [str(name) for name in schema.names]


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
        path: the file.
        kind: one of :data:`COLUMNAR`.
        names: which columns; ``None`` for all.

    Raises:
        SourceError: the file is damaged, or would take many times its size in memory, see
            :func:`~recbole_tslrec.data.content.check_unpacked`.
    """
    with _whole(path, kind):
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
