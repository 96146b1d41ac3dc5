"""A folder of parquet files that are one table, as Spark, Polars, pandas and DuckDB write it.

What begins with ``_`` or ``.`` is none of the data (``_SUCCESS``, ``.part-0.parquet.crc``). Folders ``key=value`` are a
column ``key``, which is read as text, so that ``day=07`` stays what it is. Rows are in the order of the files' names,
numbers in these counted as numbers.
"""

import re
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq

from recbole_tslrec.data.content import SourceError, kind_of

FOLDER = "folder of parquet"  # the kind of content


def parts(folder: Path) -> list[Path]:
    """The files that hold its rows, in order.

    Raises:
        SourceError: there is none, or one that is not parquet.
    """
    inside = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    shown = [path for path in inside if not any(step.startswith(("_", ".")) for step in path.parts)]
    found = [folder / path for path in sorted(shown, key=_with_numbers)]
    others = [path for path in found if kind_of(path) != "parquet"]
    if len(others) == len(found):
        first = f" (the first of {len(others)} other files is {others[0].name})" if others else ""
        raise SourceError(f"{folder} is a folder without parquet files{first}; name one with them, or a file")
    if others:
        raise SourceError(f"{others[0]} is no parquet file, as the others in {folder} are; take it out, or name a file")
    return found


def _with_numbers(path: Path) -> list[tuple[int, str]]:
    """A name to sort by, in which 10 is behind 9."""
    return [(int(text), "") if text.isdecimal() else (-1, text) for text in re.split(r"(\d+)", path.as_posix())]


def schema_of(folder: Path) -> pa.Schema:
    """The columns that all parts have, and those of the folders' names.

    Raises:
        SourceError: as :func:`parts`; or a part has other columns than the first, or is damaged.
    """
    files = parts(folder)
    first, keys = _schema(files[0]), folder_keys(folder, files[0])
    for file in files[1:]:
        differing = _difference(first, _schema(file)) or _other_keys(keys, folder_keys(folder, file))
        if differing:
            raise SourceError(
                f"{file} {differing} ({files[0].relative_to(folder)}); the parts of a table have the same columns: "
                "write the folder anew in one go, or name one file"
            )
    return pa.schema([*first, *_key_fields(first, keys)])


def folder_keys(folder: Path, file: Path) -> dict[str, str]:
    """Keys and values of the folders ``key=value`` that a file lies in."""
    steps = [step.partition("=") for step in file.relative_to(folder).parts[:-1] if "=" in step]
    return {key: value for key, _, value in steps}


def open_folder(folder: Path) -> pyarrow.dataset.Dataset:
    """All parts as one dataset, whose rows are in the order of :func:`parts`.

    Raises:
        SourceError: as :func:`schema_of`.
    """
    files, schema = parts(folder), schema_of(folder)
    keys = _key_fields(_schema(files[0]), folder_keys(folder, files[0]))
    return pyarrow.dataset.dataset(
        [str(file) for file in files],
        schema=schema,
        format="parquet",
        partitioning=pyarrow.dataset.partitioning(pa.schema(keys), flavor="hive"),
        partition_base_dir=str(folder),
    )


def _schema(file: Path) -> pa.Schema:
    try:
        return pq.read_schema(file).remove_metadata()
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"{file} is no whole parquet file ({str(error).splitlines()[0]}); write it again") from error


def _key_fields(schema: pa.Schema, keys: Iterable[str]) -> list[pa.Field]:
    """Columns of the folders' names; some writers have them in the files as well."""
    return [pa.field(key, pa.string()) for key in keys if key not in schema.names]


def _difference(first: pa.Schema, other: pa.Schema) -> str:
    """How a part's columns differ from the first's; empty where they do not."""
    there, here = (dict(zip(schema.names, schema.types, strict=True)) for schema in (first, other))
    lacking = [name for name in there if name not in here]
    added = [name for name in here if name not in there]
    if lacking or added:
        verb, names = ("lacks", lacking) if lacking else ("has", added)
        return f"{verb} column [{', '.join(names)}], unlike the first part"
    name = next((name for name in there if here[name] != there[name]), None)
    return f"has column [{name}] as {here[name]}, not as the {there[name]} of the first part" if name else ""


def _other_keys(first: Iterable[str], other: Iterable[str]) -> str:
    there, here = ("/".join(f"{key}=..." for key in keys) or "no folder key=value" for keys in (first, other))
    return f"lies in {here}, but the first part in {there}" if there != here else ""
