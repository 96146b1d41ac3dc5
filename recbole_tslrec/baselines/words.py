"""Text of a T5 word by word: an embedding of its own says which pieces belong to one word."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Tokens = NDArray[np.int64]
MOST_WORDS = 512  # rows of the embedding of whole words


class Text(NamedTuple):
    """Tokens, and the number of the word that each belongs to.

    Attributes:
        tokens: int64 [n].
        words: int64 [n]; 0 for what has no number.
    """

    tokens: Tokens
    words: Tokens


def word_tokens(tokenizer: Any, words: Sequence[str]) -> list[Tokens]:
    """The tokens of each word, with the blank before it.

    Args:
        tokenizer: the tokenizer of transformers.
        words: without blanks.
    """
    found = tokenizer([f" {word}" for word in words], add_special_tokens=False)["input_ids"]
    return [np.array(tokens, dtype=np.int64) for tokens in found]


def joined(words: Sequence[Tokens], counted: Sequence[bool] | None = None) -> Text:
    """Words behind each other, numbered from 1; those beyond the last row share it.

    Args:
        words: the tokens of each.
        counted: which of them have a number (POD's users and items); ``None`` gives every word one (P5).
    """
    is_counted = np.ones(len(words), dtype=np.int64) if counted is None else np.array(counted, dtype=np.int64)
    numbers = np.minimum(np.cumsum(is_counted), MOST_WORDS - 1) * is_counted
    return Text(np.concatenate(words), np.repeat(numbers, [len(tokens) for tokens in words]))
