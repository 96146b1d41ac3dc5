"""Text of a T5 word by word: an embedding of its own says which pieces belong to one word."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import transformers
from numpy.typing import NDArray
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

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


def word_tokenizer(texts: Iterable[str]) -> Any:
    """The tokenizer of a T5 of random weights: a token for each word of some texts, and one for one or two digits.

    With the tokens of bytes that ``scratch`` has elsewhere, prompts would be four times as long.

    Args:
        texts: words with blanks between; what stands in braces is no word.
    """
    words = sorted({f" {word}" for text in texts for word in text.split() if not word.startswith("{")})
    numbers = [str(number) for number in range(10)] + [f"{number:02}" for number in range(100)]
    names = ["<pad>", "</s>", "<unk>", " ", " user_", " item_", *numbers, *words]
    tokenizer = Tokenizer(models.WordLevel({name: number for number, name in enumerate(names)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r" ?[^\s\d]+|\d{1,2}"), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>")


def word_tokens(tokenizer: Any, words: Sequence[str]) -> list[Tokens]:
    """The tokens of each word, with the blank before it.

    Args:
        tokenizer: the tokenizer of transformers.
        words: without blanks.
    """
    found = tokenizer([f" {word}" for word in words], add_special_tokens=False)["input_ids"]
    return [np.array(tokens, dtype=np.int64) for tokens in found]


def joined(words: Sequence[Tokens], end: int, counted: Sequence[bool] | None = None) -> Text:
    """Words behind each other, numbered from 1, and the token that ends a text; those beyond the last row share it.

    Args:
        words: the tokens of each.
        end: a T5 was pretrained on texts that end so. It is no word, and has no number.
        counted: which of them have a number (POD's users and items); ``None`` gives every word one (P5).
    """
    is_counted = np.ones(len(words), dtype=np.int64) if counted is None else np.array(counted, dtype=np.int64)
    numbers = np.minimum(np.cumsum(is_counted), MOST_WORDS - 1) * is_counted
    lengths = [len(tokens) for tokens in words]
    return Text(np.append(np.concatenate(words), end), np.append(np.repeat(numbers, lengths), 0))
