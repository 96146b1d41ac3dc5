"""Text of a T5 word by word: an embedding of its own says which pieces belong to one word."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Tokens = NDArray[np.int64]


class Text(NamedTuple):
    """Tokens, and the number of the word that each belongs to.

    Attributes:
        tokens: int64 [n].
        words: int64 [n].
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


def joined(words: Sequence[Tokens], most: int) -> Text:
    """Words behind each other, numbered from 1; those beyond the last number share it (as P5's have 512 rows).

    Args:
        words: the tokens of each.
        most: the largest number.
    """
    numbers = np.minimum(np.arange(1, len(words) + 1), most)
    return Text(np.concatenate(words), np.repeat(numbers, [len(tokens) for tokens in words]))
