"""Items as tokens of a T5: as words of a prompt, and as what is generated."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recbole_tslrec.baselines.item_index import ItemPath
from recbole_tslrec.baselines.item_trie import ItemTrie
from recbole_tslrec.baselines.words import Tokens, word_tokenizer, word_tokens
from recbole_tslrec.llm.encoder_decoder import load_t5_config
from recbole_tslrec.llm.loading import load_tokenizer
from recbole_tslrec.llm.settings import LLMSettings


@dataclass(frozen=True)
class Vocabulary:
    """The tokens of items.

    Attributes:
        size: of the vocabulary, with the tokens that were added for paths.
        items: the tokens of the items 1..N as words of a prompt.
        names: the tokens of the items 1..N to generate, without their end.
        end: the token behind a prompt, and behind a generated item.
        start: the token that the decoder begins with.
        tokenizer: of transformers.
        fresh: the tokens whose embeddings start anew, int64 [S]: those of the numbers or paths by which P5 names items,
            for what they meant before would only mislead. POD keeps what a T5 knows.
    """

    size: int
    items: list[Tokens]
    names: list[Tokens]
    end: int
    start: int
    tokenizer: Any
    fresh: Tensor

    @cached_property
    def generated(self) -> list[Tokens]:
        """The tokens of the items 1..N to generate, with their end."""
        return [np.append(tokens, self.end) for tokens in self.names]

    @cached_property
    def trie(self) -> ItemTrie:
        """The tree of the items."""
        return ItemTrie.of([tokens.tolist() for tokens in self.generated])


def vocabulary_of(
    llm: LLMSettings, index: str, paths: Sequence[ItemPath], bare: bool, texts: Iterable[str]
) -> Vocabulary:
    """The tokens that an index stands for: numbers as the tokenizer splits them, or a new token for a step of a path.

    Args:
        llm: the T5.
        index: which index the paths are of.
        paths: of the items 1..N.
        bare: whether a generated item is its number or path alone (POD), or the word of a prompt (P5).
        texts: all words of prompts, of which the tokens of ``scratch`` are made.

    Raises:
        LLMError: the T5's configuration or tokenizer cannot be loaded.
    """
    tokenizer = word_tokenizer(texts) if llm.is_scratch else load_tokenizer(llm)
    config = load_t5_config(llm, len(tokenizer))
    own = max(config.vocab_size, len(tokenizer))
    (before,) = word_tokens(tokenizer, ["item_"])
    if index == "collaborative":
        steps = sorted({step for path in paths for step in path})
        place = {step: own + number for number, step in enumerate(steps)}
        names = [np.array([place[step] for step in path], dtype=np.int64) for path in paths]
        items, size = [np.concatenate([before, name]) for name in names], own + len(steps)
    else:
        numbers = [str(number) for (number,) in paths]
        items, size = word_tokens(tokenizer, [f"item_{number}" for number in numbers]), own
        names = word_tokens(tokenizer, numbers)
    end, start = int(config.eos_token_id), int(config.decoder_start_token_id)
    fresh = torch.from_numpy(np.setdiff1d(np.concatenate(items), before))
    if bare:
        return Vocabulary(size, items, names, end, start, tokenizer, fresh[:0])
    return Vocabulary(size, items, items, end, start, tokenizer, fresh)


def user_words(vocabulary: Vocabulary, users: int) -> list[Tokens]:
    """The word of each user: its number from 1, as P5 and POD name users."""
    return word_tokens(vocabulary.tokenizer, [f"user_{number}" for number in range(1, users + 1)])
