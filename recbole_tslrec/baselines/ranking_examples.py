"""Examples of LlamaRec's ranker: prompts of words, and the letter of the next item."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from recbole.data.interaction import Interaction

from recbole_tslrec.baselines.ranking_prompt import RankingPrompt
from recbole_tslrec.sft.batching import plan_steps
from recbole_tslrec.sft.examples import TARGET
from recbole_tslrec.store.files import hash_arrays

Integers = NDArray[np.int64]
TOKENS, TOKEN_COUNT = "tokens", "token_count"


@dataclass(frozen=True)
class RankingExamples:
    """The chosen ones of a number of prompts, and the steps of an epoch over them.

    Attributes:
        prompt: the tokens of all parts.
        items: item ids, int64 [S].
        starts: the history of example e is ``items[starts[e]:ends[e]]``, at most 20 items, int64 [E].
        ends: see there, int64 [E].
        candidates: item ids in the order of their letters, 0 behind where there are fewer, int64 [E, 20].
        answer: the place of the next item among them, int64 [E].
        chosen: the examples that are trained on or evaluated.
        batch_size: examples a step.
        seed: the seed of their order.
    """

    prompt: RankingPrompt
    items: Integers
    starts: Integers
    ends: Integers
    candidates: Integers
    answer: Integers
    chosen: Integers
    batch_size: int
    seed: int

    def __len__(self) -> int:
        return len(self.chosen)

    @property
    def item_counts(self) -> Integers:
        """Items in each history, [E]."""
        return self.ends - self.starts

    @cached_property
    def token_counts(self) -> Integers:
        """Tokens of each prompt behind the instruction, the answer one of them, [E]."""
        prompt = self.prompt
        title = np.array([len(words) for words in prompt.titles])
        before = np.concatenate([[0], np.cumsum(title[self.items])])
        history = before[self.ends] - before[self.starts] + _lines(prompt, prompt.numbers)[self.item_counts]
        shown = (self.candidates > 0).sum(axis=1)
        candidates = title[self.candidates].sum(axis=1) + _lines(prompt, prompt.marks)[shown]
        counts: Integers = history + candidates + len(prompt.candidates) + len(prompt.response) + 1
        return counts

    @property
    def longest_prompt(self) -> int:
        """The most tokens of a prompt behind the instruction."""
        return int(self.token_counts.max())

    @property
    def fingerprint(self) -> str:
        """A hash of the chosen prompts and answers."""
        histories = [self.items[self.starts[e] : self.ends[e]] for e in self.chosen]
        return hash_arrays(
            self.chosen, np.concatenate(histories), self.candidates[self.chosen], self.answer[self.chosen]
        )

    def in_epoch(self, epoch: int) -> "RankingExamples":
        """These, in every epoch."""
        return self

    def steps(self, epoch: int) -> list[Integers]:
        """The examples of each step of an epoch."""
        return plan_steps(self.token_counts, self.chosen, self.batch_size, self.seed, epoch)

    def tokens(self, example: int) -> Integers:
        """A prompt behind the instruction, with its answer."""
        history = self.items[self.starts[example] : self.ends[example]].tolist()
        candidates = [item for item in self.candidates[example].tolist() if item]
        letter = self.prompt.letters[self.answer[example]]
        return np.append(self.prompt.segment(history, candidates), letter)

    def interaction(self, examples: Integers) -> Interaction:
        """Examples -> tokens [B, L], pads behind, token_count [B], and as target [B, 2] the answer's place and how many
        candidates there are.
        """
        rows = [torch.from_numpy(self.tokens(example)) for example in examples.tolist()]
        shown = (self.candidates[examples] > 0).sum(axis=1)
        return Interaction(
            {
                TOKENS: torch.nn.utils.rnn.pad_sequence(rows, batch_first=True),
                TOKEN_COUNT: torch.tensor([len(row) for row in rows]),
                TARGET: torch.from_numpy(np.stack([self.answer[examples], shown], axis=1)),
            }
        )


def _lines(prompt: RankingPrompt, marks: list[Integers]) -> Integers:
    """Tokens of the first n marks and line ends, for n from 0."""
    counts: Integers = np.concatenate([[0], np.cumsum([len(mark) + len(prompt.line_end) for mark in marks])])
    return counts


@dataclass(frozen=True)
class DrawnCandidates:
    """Training examples whose candidates are drawn anew in every epoch.

    Attributes:
        of_epoch: the examples of an epoch, by its number.
        count: examples of an epoch.
        longest_prompt: the most tokens of a prompt behind the instruction, in any epoch.
    """

    of_epoch: Callable[[int], RankingExamples]
    count: int
    longest_prompt: int

    def __len__(self) -> int:
        return self.count

    def in_epoch(self, epoch: int) -> RankingExamples:
        """Those of an epoch."""
        return self.of_epoch(epoch)
