"""Tables in files of pyarrow: parquet and feather."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from recbole_tslrec.data.content import SourceError

COLUMNAR = ("parquet", "feather")  # kinds of content


def column_names(path: Path, kind: str) -> list[str]:
    """The names of all columns.

    Raises:
        SourceError: the file is damaged.
    """
    return [str(name) for name in _read(path, kind, None).column_names]


def read_columns(path: Path, kind: str, names: Sequence[str]) -> pd.DataFrame:
    """Some columns, indexed by row from 1.

    Raises:
        SourceError: the file is damaged, or a column holds several values in a row.
    """
    table = _read(path, kind, list(names))
    for name in names:
        if pa.types.is_nested(table.schema.field(name).type):
            raise SourceError(f"{path}: column [{name}] holds several values in a row; name one that holds one")
    # whole numbers stay whole beside missing ones, and what was an index of pandas is a column like any other
    frame = table.select(list(names)).to_pandas(ignore_metadata=True, integer_object_nulls=True, date_as_object=False)
    return frame.set_index(np.arange(1, len(frame) + 1))


def _read(path: Path, kind: str, names: list[str] | None) -> Any:
    try:
        if kind == "feather":
            table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
            return table.select(names) if names else table
        return (
            pyarrow.parquet.read_table(path, columns=names)
            if names
            else pyarrow.parquet.read_schema(path).empty_table()
        )
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"{path} is no whole {kind} file ({str(error).splitlines()[0]}); write it again") from error
