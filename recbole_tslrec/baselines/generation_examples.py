"""Examples of P5 and POD: a text for the encoder, and the tokens of an item for the decoder."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from recbole.data.interaction import Interaction
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pad_sequence

from recbole_tslrec.baselines.words import Text, Tokens
from recbole_tslrec.sft.batching import plan_steps
from recbole_tslrec.sft.examples import TARGET

Integers = NDArray[np.int64]
TOKENS, WORDS, TOKEN_COUNT, TASK, DECODED = "tokens", "words", "token_count", "task", "decoded"
IGNORED = -100  # of a label behind the item's last token


class Prompt(NamedTuple):
    """What one example is.

    Attributes:
        text: for the encoder.
        task: the number of its task.
        item: the item 1..N to generate.
    """

    text: Text
    task: int
    item: int


@dataclass(frozen=True)
class GenerationExamples:
    """The chosen ones of a number of prompts, and the steps of an epoch over them.

    Attributes:
        prompt: the prompt of each example.
        token_counts: tokens of its text and of its item, int64 [E].
        item_counts: items in its text, int64 [E].
        item_tokens: the tokens of the items 1..N, the last one ends the item.
        start: the token that the decoder begins with.
        chosen: the examples that are trained on or evaluated.
        fingerprint: a hash of what decides the chosen prompts.
        batch_size: examples a step.
        seed: the seed of their order.
    """

    prompt: Callable[[int], Prompt]
    token_counts: Integers
    item_counts: Integers
    item_tokens: Sequence[Tokens]
    start: int
    chosen: Integers
    fingerprint: str
    batch_size: int
    seed: int

    def __len__(self) -> int:
        return len(self.chosen)

    @property
    def longest_prompt(self) -> int:
        """The most tokens of a text and its item."""
        return int(self.token_counts.max())

    def in_epoch(self, epoch: int) -> "GenerationExamples":
        """These, in every epoch."""
        return self

    def steps(self, epoch: int) -> list[Integers]:
        """The examples of each step of an epoch."""
        return plan_steps(self.token_counts, self.chosen, self.batch_size, self.seed, epoch)

    def interaction(self, examples: Integers) -> Interaction:
        """Examples -> what :meth:`GenerationNetwork.forward` takes, and as target the items' tokens [B, T]."""
        prompts = [self.prompt(example) for example in examples.tolist()]
        labels = pad_sequence(
            [torch.from_numpy(self.item_tokens[prompt.item - 1]) for prompt in prompts],
            batch_first=True,
            padding_value=IGNORED,
        )
        decoded = torch.nn.functional.pad(labels[:, :-1].clamp(min=0), (1, 0), value=self.start)
        return Interaction({**inputs_of(prompts), DECODED: decoded, TARGET: labels})


def inputs_of(prompts: Sequence[Prompt]) -> dict[str, Tensor]:
    """What :meth:`GenerationNetwork.encode` takes of some prompts."""
    texts = [prompt.text for prompt in prompts]
    columns = {
        name: pad_sequence([torch.from_numpy(part) for part in parts], batch_first=True)
        for name, parts in ((TOKENS, [text.tokens for text in texts]), (WORDS, [text.words for text in texts]))
    }
    counts = torch.tensor([len(text.tokens) for text in texts])
    return {**columns, TOKEN_COUNT: counts, TASK: torch.tensor([prompt.task for prompt in prompts])}


class ItemObjective:
    """The cross entropy of an item's tokens, averaged over them."""

    def errors(self, scores: Tensor, target: Tensor) -> Tensor:
        """Scores [B, T, V] and tokens int64 [B, T], :data:`IGNORED` behind the item -> [B]."""
        losses = cross_entropy(scores.transpose(1, 2), target, ignore_index=IGNORED, reduction="none")
        return losses.sum(dim=1) / (target != IGNORED).sum(dim=1)

    def metrics(self, scores: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Nothing beside the loss."""
        return {}
