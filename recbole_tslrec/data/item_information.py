"""Titles, brands and categories of items, from the files that come with the interactions."""

import html
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from logging import getLogger
from pathlib import Path
from typing import Any

import pandas as pd

from recbole_tslrec.data.columnar import COLUMNAR, column_names, read_columns
from recbole_tslrec.data.columns import COLUMNS, item_column
from recbole_tslrec.data.content import EncodingError, SourceError, kind_of, open_text
from recbole_tslrec.data.delimited import SEPARATORS, is_number, read_table, separator_of, split
from recbole_tslrec.data.identifiers import MISSING
from recbole_tslrec.data.lines import first_lines
from recbole_tslrec.data.records import parse_record, records

TITLE_COLUMNS = ("title", "movie_title", "name", "keyphrase")  # what datasets call an item's title, the likeliest first
_ITEM = "item_id:token"
_MOST_WORDS = 5  # of a name in a list, such as a category; what has more is a sentence


def read_items(path: Path, items: Iterable[str], column: str = "") -> pd.DataFrame:
    """Read what a file says of items: MovieLens' ``movies.dat``, Amazon's metadata, S3-Rec's attributes, or any table.

    S3-Rec's attributes, numbers for fine categories and brands, are taken as categories. Of a table (CSV, TSV, parquet,
    feather) or a file of one object a line, all columns of text are kept under their names.

    Args:
        path: the file, packed or not; its form is recognised from the content.
        items: tokens of the items that have interactions; others would become items of the dataset.
        column: what the items' column is called in the file of interactions; a table has it under that name, or as
            ``item_id``.

    Returns:
        A row for each of the items, in their order, with the columns of RecBole's ``.item`` file. What the file does
        not say is empty.

    Raises:
        SourceError: there is no such file, its form is unknown, or it knows none of the items.
    """
    if not path.is_file():
        raise SourceError(f"item file {path} does not exist; check --items")
    items = list(items)
    rows = _read(path, set(items), column)
    table = pd.DataFrame(rows, columns=None if rows else [_ITEM]).drop_duplicates(_ITEM).set_index(_ITEM)
    known = int(table.index.isin(items).sum())
    if not known:
        raise SourceError(f"item file {path} knows none of the {len(items)} items, such as {items[0]}; check --items")
    if known < len(items):
        getLogger().warning(f"item file {path} knows {known:,} of the {len(items):,} items")
    return table.reindex(items, fill_value="").reset_index()


def _read(path: Path, items: set[str], column: str) -> list[dict[str, str]]:
    kind = kind_of(path)
    if kind in COLUMNAR:
        names = column_names(path, kind)
        frame = read_columns(path, kind, names)
        return _described(frame.to_dict("records"), items, names[item_column(path, names, column)])
    try:
        lines = first_lines(path)
    except EncodingError:
        lines = first_lines(path, "latin-1")
        if lines[0].count("::") != 2:
            raise
    first = lines[0] if lines else ""
    if first.count("::") == 2:
        return _movies(path)
    if first.lstrip().startswith("{"):
        return _objects(path, first, items, column)
    if any(separator in first for separator in SEPARATORS):
        return _table(path, lines, items, column)
    raise SourceError(
        f"item file {path} is neither movies.dat, Amazon's metadata, S3-Rec's attributes, a table nor one object a line"
    )


def _movies(path: Path) -> list[dict[str, str]]:
    """GroupLens' own files are Latin-1, those of others often UTF-8."""
    try:
        lines = _fields_of_movies(path, None)
    except EncodingError:
        lines = _fields_of_movies(path, "latin-1")
    return [
        {_ITEM: item, "title:token_seq": _text(title), "categories:token_seq": _tokens(genres.split("|"))}
        for item, title, genres in lines
    ]


def _fields_of_movies(path: Path, encoding: str | None) -> list[list[str]]:
    found = []
    with open_text(path, encoding) as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                found.append(line.strip().split("::"))
                if len(found[-1]) != 3:
                    raise SourceError(
                        f"item file {path}, line {number} has {len(found[-1])} fields, not 3; correct the line"
                    )
    return found


def _objects(path: Path, first: str, items: set[str], column: str) -> list[dict[str, str]]:
    try:
        names = list(map(str, parse_record(path, 1, first)))
    except SourceError:
        return _attributes(path)  # over several lines, or nothing at all
    if "asin" in names:
        return _amazon(path)
    if len(names) > 0 and all(isinstance(value, list) for value in parse_record(path, 1, first).values()):
        return _attributes(path)
    return _described((record for _, record in records(path)), items, names[item_column(path, names, column)])


def _amazon(path: Path) -> list[dict[str, str]]:
    return [
        {
            _ITEM: str(record.get("asin")),
            "title:token_seq": _text(record.get("title")),
            "brand:token": _text(record.get("brand")),
            # of 2014 paths through a tree, of 2018 one path
            "categories:token_seq": _tokens(_strings(record.get("categories") or record.get("category") or [])),
        }
        for _, record in records(path)
    ]


def _attributes(path: Path) -> list[dict[str, str]]:
    with open_text(path) as file:
        try:
            attributes = json.load(file)
        except (json.JSONDecodeError, RecursionError) as error:
            raise SourceError(f"item file {path} is neither Amazon's metadata nor one JSON object: {error}") from error
    return [{_ITEM: item, "categories:token_seq": _tokens(map(str, own))} for item, own in attributes.items()]


def _table(path: Path, lines: list[str], items: set[str], column: str) -> list[dict[str, str]]:
    separator = separator_of(lines)
    names = [name.strip().strip('"') for name in split(lines[0], separator)]
    item = names[item_column(path, names, column)]
    frame = read_table(path, separator, len(names), range(len(names)), has_header=True).frame.astype(object)
    return _described(frame.set_axis(names, axis=1).to_dict("records"), items, item)


def _described(found: Iterable[Mapping[str, Any]], items: set[str], item: str) -> list[dict[str, str]]:
    """The columns of text, of the items that are wanted, with RecBole's types."""
    rows = [record for record in found if _token(record.get(item)) in items]
    names = [name for name in dict.fromkeys(name for row in rows for name in row) if name != item]
    columns = {_ITEM: [_token(row[item]) for row in rows]}
    for name in names:
        texts = [_words(row.get(name)) for row in rows]
        plain = re.sub(r"\s", "_", re.sub(r":(token|float|token_seq|float_seq)$", "", name))
        if plain not in COLUMNS and any(texts) and not all(is_number(text) for text in texts if text):
            kind = "token_seq" if any(" " in text for text in texts) else "token"
            columns[f"{plain}:{kind}"] = texts
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _token(value: Any) -> str:
    return str(value).strip()


def _words(value: Any) -> str:
    """A value in words: text, or names in a list as tokens; nothing of what has parts of its own."""
    if isinstance(value, str):
        is_list = "|" in value and not re.search(r"\s\||\|\s", value)
        return _tokens(value.split("|")) if is_list else _text("" if value.strip() in MISSING else value)
    if isinstance(value, Iterable) and not isinstance(value, (bytes, Mapping)):
        parts = list(_strings(value))
        are_names = all(len(part.split()) <= _MOST_WORDS for part in parts)
        return _tokens(parts) if are_names else _text(" ".join(parts))
    return _text(value) if isinstance(value, (int, float)) and value == value else ""


def _strings(values: Iterable[Any]) -> Iterator[str]:
    for value in values:
        if isinstance(value, str):
            yield value
        elif isinstance(value, Iterable) and not isinstance(value, (bytes, Mapping)):
            yield from _strings(value)


def _tokens(names: Iterable[str]) -> str:
    """Names as one ``token_seq``, each once; within a name RecBole's separator becomes an underscore."""
    return " ".join(dict.fromkeys(_text(name).replace(" ", "_") for name in names))


def _text(text: Any) -> str:
    """Text on one line; RecBole would take a double quote for the beginning of a field that may go over lines."""
    return " ".join(html.unescape(str(text or "")).split()).replace('"', "'")
