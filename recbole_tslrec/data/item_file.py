"""A dataset's ``.item`` file: what it says of each item, by the item's token."""

import csv
from collections.abc import Container
from pathlib import Path

import pandas as pd


def read_item_file(
    path: Path, item_field: str, separator: str, encoding: str, columns: Container[str] | None = None
) -> pd.DataFrame:
    """Columns of an atomic file of items, as text.

    Args:
        path: the file.
        item_field: the name of the items' column.
        separator: RecBole's ``field_separator``.
        encoding: RecBole's ``encoding``.
        columns: those that are read, ``name:type``; ``None`` reads all.

    Returns:
        A row for each item, named by its token, with columns ``name:type``; of rows with the same token the first, as
        RecBole keeps it.
    """

    def is_item(column: str) -> bool:
        return column.rpartition(":")[0] == item_field

    table = pd.read_csv(
        path,
        sep=separator,
        encoding=encoding,
        usecols=lambda column: columns is None or column in columns or is_item(column),
        dtype=str,
        keep_default_na=False,
        quoting=csv.QUOTE_NONE,  # as atomic files are read: a lone quote would swallow the lines up to the next
    )
    [item] = filter(is_item, table.columns)
    return table.drop_duplicates(item).set_index(item)
