"""Titles, brands and categories of items, from the files that come with the interactions."""

import html
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from recbole_tslrec.data.content import SourceError, open_text
from recbole_tslrec.data.sources import fields, records

_ITEM = "item_id:token"


def read_items(path: Path, items: Iterable[str]) -> pd.DataFrame:
    """Read what a file says of items: MovieLens' ``movies.dat``, Amazon's metadata, or S3-Rec's attributes.

    S3-Rec's attributes, numbers for fine categories and brands, are taken as categories.

    Args:
        path: the file, packed with gzip or not; its form is recognised from the content.
        items: tokens of the items that have interactions; others would become items of the dataset.

    Returns:
        A row for each of the items, in their order, with the columns of RecBole's ``.item`` file. What the file does
        not say is empty.

    Raises:
        SourceError: there is no such file, its form is unknown, or it knows none of the items.
    """
    if not path.is_file():
        raise SourceError(f"item file {path} does not exist; check --items")
    with open_text(path, "latin-1") as file:
        first = file.readline()
    if first.count("::") == 2:
        found = _movies(path)
    elif first.startswith("{"):
        found = _amazon(path) if '"asin"' in first or "'asin'" in first else _attributes(path)
    else:
        raise SourceError(f"item file {path} is neither movies.dat, Amazon's metadata nor S3-Rec's attributes")
    table = pd.DataFrame(found).drop_duplicates(_ITEM).set_index(_ITEM)
    items = list(items)
    if not table.index.isin(items).any():
        raise SourceError(f"item file {path} knows none of the {len(items)} items, such as {items[0]}; check --items")
    return table.reindex(items, fill_value="").reset_index()


def _movies(path: Path) -> list[dict[str, str]]:
    return [
        {_ITEM: item, "title:token_seq": _text(title), "categories:token_seq": _tokens(genres.split("|"))}
        for item, title, genres in fields(path, "::", 3, "latin-1")
    ]


def _amazon(path: Path) -> list[dict[str, str]]:
    return [
        {
            _ITEM: str(record.get("asin")),
            "title:token_seq": _text(record.get("title")),
            "brand:token": _text(record.get("brand")),
            # of 2014 paths through a tree, of 2018 one path
            "categories:token_seq": _tokens(_flat(record.get("categories") or record.get("category") or [])),
        }
        for _, record in records(path)
    ]


def _attributes(path: Path) -> list[dict[str, str]]:
    with open_text(path) as file:
        try:
            attributes = json.load(file)
        except json.JSONDecodeError as error:
            raise SourceError(f"item file {path} is neither Amazon's metadata nor one JSON object: {error}") from error
    return [{_ITEM: item, "categories:token_seq": _tokens(map(str, own))} for item, own in attributes.items()]


def _flat(categories: Any) -> list[str]:
    return [name for part in categories for name in ([part] if isinstance(part, str) else _flat(part))]


def _tokens(names: Iterable[str]) -> str:
    """Names as one ``token_seq``, each once; within a name RecBole's separator becomes an underscore."""
    return " ".join(dict.fromkeys(_text(name).replace(" ", "_") for name in names))


def _text(text: Any) -> str:
    """Text on one line; RecBole would take a double quote for the beginning of a field that may go over lines."""
    return " ".join(html.unescape(str(text or "")).split()).replace('"', "'")
