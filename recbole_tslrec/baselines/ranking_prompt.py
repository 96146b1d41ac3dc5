"""The prompt of LlamaRec's ranker (Yue et al., 2023): titles of the history, lettered ones of candidates, a letter."""

import string
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Tokens = NDArray[np.int64]

CANDIDATES = 20
LETTERS = string.ascii_uppercase[:CANDIDATES]
MOST_HISTORY = 20  # titles
INSTRUCTION = (
    "Below is an instruction that describes a task, with an input that gives its context. Write a fitting response.\n\n"
    "### Instruction:\nGiven the items that a user has had, in order, choose the one candidate that the user has next. "
    "Answer with its letter alone.\n\n### Input:\nHistory:\n"
)
_CANDIDATES = "Candidates:\n"
RESPONSE = "\n### Response:\n"
NUMBERS = [f"({number}) " for number in range(1, MOST_HISTORY + 1)]
MARKS = [f"({letter}) " for letter in LETTERS]
PARTS = (INSTRUCTION, *NUMBERS, _CANDIDATES, *MARKS, RESPONSE, *LETTERS)  # all words but those of titles


@dataclass(frozen=True)
class RankingPrompt:
    """The tokens of all parts of a prompt; it begins with ``instruction``, which all prompts share.

    Attributes:
        instruction: the task, behind the tokenizer's BOS where it has one.
        numbers: ``(1)`` to ``(20)``, before the titles of a history.
        candidates: what stands between the history and the candidates.
        marks: ``(A)`` to ``(T)``, before the titles of the candidates.
        line_end: behind a title.
        response: what stands before the answer.
        letters: the token of each letter as the answer, [20].
        end: the token behind the answer.
        titles: of the items 1..N, behind an empty one for the pad.
        vocabulary: tokens that the tokenizer knows.
    """

    instruction: Tokens
    numbers: list[Tokens]
    candidates: Tokens
    marks: list[Tokens]
    line_end: Tokens
    response: Tokens
    letters: Tokens
    end: int
    titles: list[Tokens]
    vocabulary: int

    def segment(self, history: Sequence[int], candidates: Sequence[int]) -> Tokens:
        """A prompt behind its instruction.

        Args:
            history: item ids in time order; the most recent 20 are named.
            candidates: item ids in the order of the letters, at most 20.
        """
        recent = history[-MOST_HISTORY:]
        parts = [
            *self._lines(self.numbers, recent),
            self.candidates,
            *self._lines(self.marks, candidates),
            self.response,
        ]
        return np.concatenate(parts)

    def _lines(self, marks: Sequence[Tokens], items: Sequence[int]) -> list[Tokens]:
        return [
            part for mark, item in zip(marks, items, strict=False) for part in (mark, self.titles[item], self.line_end)
        ]

    @property
    def most_tokens(self) -> int:
        """Tokens of a prompt in which every title is the longest one."""
        title = max(map(len, self.titles)) + len(self.line_end)
        marks = sum(map(len, [*self.numbers, *self.marks])) + title * (MOST_HISTORY + CANDIDATES)
        return len(self.instruction) + marks + len(self.candidates) + len(self.response) + 1


def build_ranking_prompt(tokenizer: Any, titles: Sequence[str], title_tokens: int) -> RankingPrompt:
    """Tokenise all parts.

    Args:
        tokenizer: the tokenizer of transformers.
        titles: of the items 1..N.
        title_tokens: the most tokens of a title.

    Raises:
        ValueError: a letter is no token of its own as the answer, or two letters are the same.
    """

    def tokens(text: str) -> Tokens:
        return np.array(tokenizer(text, add_special_tokens=False)["input_ids"], dtype=np.int64)

    instruction = tokens(INSTRUCTION)
    if tokenizer.bos_token_id is not None:
        instruction = np.concatenate([[tokenizer.bos_token_id], instruction])
    response = tokens(RESPONSE)
    end = tokenizer.eos_token_id
    found = tokenizer(list(titles), add_special_tokens=False)["input_ids"]
    return RankingPrompt(
        instruction=instruction,
        numbers=[tokens(number) for number in NUMBERS],
        candidates=tokens(_CANDIDATES),
        marks=[tokens(mark) for mark in MARKS],
        line_end=tokens("\n"),
        response=response,
        letters=_letters(tokens, response),
        end=int(tokenizer.bos_token_id if end is None else end),
        titles=[np.empty(0, np.int64), *(np.array(title[:title_tokens], dtype=np.int64) for title in found)],
        vocabulary=len(tokenizer),
    )


def _letters(tokens: Any, response: Tokens) -> Tokens:
    """The tokens of the letters as they stand behind the response header, not as they would stand alone."""
    answers = [tokens(RESPONSE + letter)[len(response) :] for letter in LETTERS]
    whole = all(np.array_equal(tokens(RESPONSE + letter)[: len(response)], response) for letter in LETTERS)
    if (
        not whole
        or any(len(answer) != 1 for answer in answers)
        or len({int(answer[0]) for answer in answers}) < CANDIDATES
    ):
        split = next((letter for letter, answer in zip(LETTERS, answers, strict=True) if len(answer) != 1), LETTERS[0])
        raise ValueError(
            f"the tokenizer does not make one token of its own of the answer [{split}], so that the ranker could not "
            "read its probability; choose another LLM"
        )
    return np.concatenate(answers)
