"""A dataset's ``.item`` file: what it says of each item, by the item's token."""

import csv
from pathlib import Path

import pandas as pd


def read_item_file(path: Path, item_field: str, separator: str, encoding: str) -> pd.DataFrame:
    """All columns of an atomic file of items, as text.

    Args:
        path: the file.
        item_field: the name of the items' column.
        separator: RecBole's ``field_separator``.
        encoding: RecBole's ``encoding``.

    Returns:
        A row for each item, named by its token, with columns ``name:type``; of rows with the same token the first, as
        RecBole keeps it.
    """
    # as atomic files are read: a lone quote would swallow the lines up to the next
    table = pd.read_csv(
        path, sep=separator, encoding=encoding, dtype=str, keep_default_na=False, quoting=csv.QUOTE_NONE
    )
    [item] = [column for column in table.columns if column.rpartition(":")[0] == item_field]
    return table.drop_duplicates(item).set_index(item)
