"""Words of items in the prompt, before their vectors (added here; the paper's prompt has the vectors alone)."""

import functools
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recbole_tslrec.compute.log_once import log_once
from recbole_tslrec.data.item_file import read_item_file
from recbole_tslrec.data.item_information import TITLE_COLUMNS
from recbole_tslrec.llm.settings import ItemTextSettings
from recbole_tslrec.store.files import hash_arrays

MOST_TEXT_TOKENS = 32  # of an item: at 16 a title and categories lose the last of them; more leave room for fewer items
_TEXT_TYPES = ("token", "token_seq")


@dataclass(frozen=True)
class ItemText:
    """The tokens of items' texts, one item after the other.

    Attributes:
        tokens: the tokens of all items, int64 [W].
        counts: the counts of each item, int64 [M]; an item without text has none.
    """

    tokens: Tensor
    counts: Tensor

    @classmethod
    def of(cls, tokens: Sequence[Sequence[int]]) -> "ItemText":
        """From the tokens of each item."""
        flat = [token for item in tokens for token in item]
        counts = torch.tensor([len(item) for item in tokens], dtype=torch.int64)
        return cls(torch.tensor(flat, dtype=torch.int64), counts)

    @functools.cached_property
    def starts(self) -> Tensor:
        """Where the tokens of each item begin, int64 [M]."""
        return self.counts.cumsum(0) - self.counts

    @property
    def longest(self) -> int:
        """The most tokens of an item."""
        return int(self.counts.max())

    def rows(self, items: Tensor) -> "ItemText":
        """The texts of some items, in their order; an item may come several times.

        Args:
            items: row numbers, int64 [n].
        """
        counts = self.counts[items]  # [n]
        starts = torch.repeat_interleave(self.starts[items] - (counts.cumsum(0) - counts), counts)
        return ItemText(self.tokens[starts + torch.arange(len(starts), device=starts.device)], counts)

    def tokens_of(self, item_count: Tensor) -> Tensor:
        """How many tokens the texts of users have who own these items, one user after the other.

        Args:
            item_count: items of each user, int64 [B].

        Returns:
            int64 [B].
        """
        before = torch.nn.functional.pad(self.counts.cumsum(0), (1, 0))  # [M + 1]
        ends = item_count.cumsum(0)
        return before[ends] - before[ends - item_count]

    def to(self, device: torch.device | str) -> "ItemText":
        """The same on another device."""
        return ItemText(self.tokens.to(device), self.counts.to(device))


def tokenise_item_texts(tokenizer: Any, texts: Sequence[str]) -> ItemText:
    """The first :data:`MOST_TEXT_TOKENS` tokens of each text, behind an empty row 0 for the pad.

    Args:
        tokenizer: the tokenizer of transformers.
        texts: the texts of the items 1..N; empty where an item has none.
    """
    found = tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    return ItemText.of([[], *(tokens[:MOST_TEXT_TOKENS] for tokens in found)])


def check_item_text(settings: ItemTextSettings) -> None:
    """Refuse a ``prompt_item_text`` that the dataset does not have, from the head of its ``.item`` file.

    Raises:
        ValueError: there is no ``.item`` file, or it lacks a column; names those that it has.
    """
    _fields(settings, settings.columns)
    if not (settings.prompt_item_vector or settings.columns):
        raise ValueError(
            "prompt_item_vector=False leaves nothing of an item in the prompt; name columns of the .item file with "
            "prompt_item_text, or set prompt_item_vector to True"
        )


def item_text_content(settings: ItemTextSettings, tokens: Sequence[str]) -> dict[str, str]:
    """What a recipe says of the items' texts: a hash of them and of where they are cut; of a prompt without, nothing.

    Args:
        settings: which columns.
        tokens: the external tokens of the items.
    """
    if not settings.columns:
        return {}
    return {
        "item_text": hash_arrays(np.array(read_item_texts(settings, tokens), dtype=object), np.array(MOST_TEXT_TOKENS))
    }


def read_titles(settings: ItemTextSettings, tokens: Sequence[str]) -> list[str]:
    """The title of each item, by the first of :data:`TITLE_COLUMNS` that there is; empty where it has none.

    Args:
        settings: of which file.
        tokens: the external tokens of the items.
    """
    fields = _text_fields(settings) if _item_file(settings).is_file() else {}
    column = [column for column in TITLE_COLUMNS if column in fields][:1]
    return _read(settings, column, tokens) if column else [""] * len(tokens)


def read_item_texts(settings: ItemTextSettings, tokens: Sequence[str]) -> list[str]:
    """The text of each item: its columns one after the other, underscores as blanks (in ``token_seq`` they hold the
    words of a phrase together).

    Args:
        settings: which columns, of which file.
        tokens: the external tokens of the items.

    Raises:
        ValueError: as :func:`check_item_text`, or no item has a text.
    """
    columns, path = settings.columns, _item_file(settings)
    found = _read(settings, columns, tokens)
    missing = found.count("")
    if missing == len(found):
        raise ValueError(
            f"{path} has no text of any item of the dataset in {', '.join(columns)}; choose other columns with "
            "prompt_item_text, or none"
        )
    if missing:
        # recipe, training and export each read the texts
        log_once(f"{missing} of {len(found)} items have no text in {path}; their vectors stand alone", logging.INFO)
    return found


def _read(settings: ItemTextSettings, columns: Sequence[str], tokens: Sequence[str]) -> list[str]:
    """The text of each item, empty where it has none."""
    _, *fields = _fields(settings, [settings.ITEM_ID_FIELD, *columns])
    path, separator = _item_file(settings), settings.field_separator
    table = read_item_file(path, settings.ITEM_ID_FIELD, separator, settings.encoding, fields)
    table = table[fields].reindex(tokens, fill_value="")
    return [_joined(row) for row in zip(*(table[field] for field in fields), strict=True)]


def _joined(parts: Iterable[str]) -> str:
    return ", ".join(filter(None, (" ".join(part.replace("_", " ").split()) for part in parts)))


def _item_file(settings: ItemTextSettings) -> Path:
    return Path(settings.data_path) / f"{settings.dataset}.item"


def _fields(settings: ItemTextSettings, columns: Sequence[str]) -> list[str]:
    """The names of columns in the head of the ``.item`` file, with their types."""
    path = _item_file(settings)
    if columns and not path.is_file():
        raise ValueError(
            f"prompt_item_text [{settings.prompt_item_text}] needs {path}, which does not exist; put the items' texts "
            "there, or set prompt_item_text to none"
        )
    if not columns:
        return []
    fields = _text_fields(settings)
    lacking = [column for column in columns if column not in fields]
    if lacking:
        raise ValueError(
            f"{path} has no column of text [{lacking[0]}]; set prompt_item_text to none or to some of "
            f"{', '.join(name for name in fields if name != settings.ITEM_ID_FIELD) or 'nothing: it has none'}"
        )
    return [fields[column] for column in columns]


def _text_fields(settings: ItemTextSettings) -> dict[str, str]:
    """The columns of text in the head of the ``.item`` file: names with types, by name."""
    with _item_file(settings).open(encoding=settings.encoding) as file:
        head = file.readline().rstrip("\r\n").split(settings.field_separator)
    return {field.rpartition(":")[0]: field for field in head if field.rpartition(":")[2] in _TEXT_TYPES}
