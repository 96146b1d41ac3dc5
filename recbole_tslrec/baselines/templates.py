"""Prompts with gaps: words in tokens, and what is filled in between them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from recbole_tslrec.baselines.words import Tokens, word_tokens


@dataclass(frozen=True)
class Template:
    """A paraphrase in tokens.

    Attributes:
        parts: the tokens of each word; a text is the name of what is filled in there.
    """

    parts: list[Tokens | str]

    @classmethod
    def of(cls, tokenizer: Any, text: str) -> "Template":
        """Read names in braces, such as ``{user}``, among words with blanks between."""
        words = text.split()
        tokens = word_tokens(tokenizer, words)
        return cls([w[1:-1] if w.startswith("{") else t for w, t in zip(words, tokens, strict=True)])

    @property
    def gaps(self) -> list[str]:
        """The names of what is filled in."""
        return [part for part in self.parts if isinstance(part, str)]

    @property
    def own_tokens(self) -> int:
        """Tokens of its own words, and the one that ends the text."""
        return sum(len(part) for part in self.parts if not isinstance(part, str)) + 1

    def fill(self, values: Mapping[str, Sequence[Tokens]]) -> tuple[list[Tokens], list[bool]]:
        """The words of a prompt, and which of them were filled in.

        Args:
            values: the words of each gap.
        """
        words: list[Tokens] = []
        filled: list[bool] = []
        for part in self.parts:
            found = values[part] if isinstance(part, str) else [part]
            words += found
            filled += [isinstance(part, str)] * len(found)
        return words, filled
