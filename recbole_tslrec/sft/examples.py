"""Examples to fine-tune on: for each a prompt of items, and what is to be predicted from it."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from recbole.data.interaction import Interaction
from torch import Tensor

from recbole_tslrec.sft.batching import plan_steps
from recbole_tslrec.store.files import hash_arrays

ITEM_SEQ, ITEM_SEQ_LEN, TARGET = "item_seq", "item_seq_len", "target"


@dataclass(frozen=True)
class Examples:
    """The chosen ones of a number of examples, and the steps of an epoch over them.

    Attributes:
        items: item ids, int64 [S].
        starts: the prompt of example e is ``items[starts[e]:ends[e]]``, int64 [E].
        ends: see there, int64 [E].
        targets: the targets of each example, [E, ...].
        chosen: the examples that are trained on or evaluated; the others belong to somebody else.
        batch_size: examples a step.
        seed: the seed of their order.
        item_tokens: that each of the item ids 0..N takes in a prompt, int64 [N + 1]; ``None``: one each.
    """

    items: NDArray[np.int64]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    targets: Tensor
    chosen: NDArray[np.int64]
    batch_size: int
    seed: int
    item_tokens: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.chosen)

    @property
    def item_counts(self) -> NDArray[np.int64]:
        """Items in each prompt, [E]."""
        return self.ends - self.starts

    @cached_property
    def token_counts(self) -> NDArray[np.int64]:
        """Tokens of the items in each prompt, [E]."""
        if self.item_tokens is None:
            return self.item_counts
        before = np.concatenate([[0], np.cumsum(self.item_tokens[self.items])])
        counts: NDArray[np.int64] = before[self.ends] - before[self.starts]
        return counts

    @property
    def longest_prompt(self) -> int:
        """The most tokens that the items of a prompt take."""
        return int(self.token_counts.max())

    @property
    def fingerprint(self) -> str:
        """A hash of the chosen prompts and targets."""
        return hash_arrays(self.chosen, np.concatenate(self._prompts(self.chosen)), self.targets[self.chosen].numpy())

    def in_epoch(self, epoch: int) -> "Examples":
        """These, in every epoch."""
        return self

    def steps(self, epoch: int) -> list[NDArray[np.int64]]:
        """The examples of each step of an epoch."""
        return plan_steps(self.token_counts, self.chosen, self.batch_size, self.seed, epoch)

    def interaction(self, examples: NDArray[np.int64]) -> Any:
        """Examples -> item_seq [B, L], pads behind, item_seq_len [B] and target [B, ...]."""
        sequences = [torch.from_numpy(prompt) for prompt in self._prompts(examples)]
        return Interaction(
            {
                ITEM_SEQ: torch.nn.utils.rnn.pad_sequence(sequences, batch_first=True),
                ITEM_SEQ_LEN: torch.tensor([len(sequence) for sequence in sequences]),
                TARGET: self.targets[examples],
            }
        )

    def _prompts(self, examples: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        return [self.items[self.starts[example] : self.ends[example]] for example in examples]
