"""What the engine asks of a task: examples, prompt, head, errors and metrics."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from recbole_tslrec.llm.item_text import ItemText
from recbole_tslrec.llm.prompt import Prompt
from recbole_tslrec.sft.examples import Examples


class EpochExamples(Protocol):
    """Examples that may differ from epoch to epoch; :class:`~recbole_tslrec.sft.examples.Examples` do not."""

    def __len__(self) -> int:
        """How many examples an epoch has."""

    @property
    def longest_prompt(self) -> int:
        """The most tokens that the items of a prompt take, in any epoch."""

    def in_epoch(self, epoch: int) -> Examples:
        """Those of an epoch."""


class Objective(Protocol):
    """What is predicted from a hidden state, and what is wrong with a prediction."""

    def head(self, hidden_size: int) -> nn.Module:
        """A new head: hidden states [B, H] -> scores [B, ...]."""

    def errors(self, scores: Tensor, target: Tensor) -> Tensor:
        """What is minimised, of each example: scores and targets [B, ...] -> [B]."""

    def metrics(self, scores: Tensor, target: Tensor) -> Mapping[str, Tensor]:
        """What is reported beside the error at a validation, of each example: [B] each."""


@dataclass(frozen=True)
class Task:
    """What an LLM is fine-tuned for. All else is the engine's.

    Attributes:
        name: for messages.
        objective: what is predicted.
        prompt: the text parts.
        item_embeddings: the frozen rows that stand for items in the prompt, [N + 1, d]; row 0 is the pad.
        train: what is trained on.
        valid: what the best epoch is chosen by.
        max_items: the most items of a prompt.
        recipe: the settings that decide the result: a step checkpoint made under others is refused.
        item_text: the words of the same rows, if the prompt has words.
        takes_vectors: whether an item's place holds its vector, or what all items have.
        history_lengths: training interactions of each user, to compare the cost with that of one prompt for each
            interaction; ``None`` leaves the comparison out.
        report: gives what the manifest says beside what the engine reports.
    """

    name: str
    objective: Objective
    prompt: Prompt
    item_embeddings: Tensor
    train: EpochExamples
    valid: Examples
    max_items: int
    recipe: Mapping[str, Any]
    item_text: ItemText | None = None
    takes_vectors: bool = True
    history_lengths: NDArray[np.int64] | None = None
    report: Callable[[], Mapping[str, Any]] = dict
