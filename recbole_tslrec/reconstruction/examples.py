"""One training example per user: the most recent items of the history, and the preference target."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from recbole.data.interaction import Interaction
from torch import Tensor

from recbole_tslrec.augmentation.knowledge import Grouping
from recbole_tslrec.files import hash_arrays
from recbole_tslrec.reconstruction.batching import plan_steps
from recbole_tslrec.reconstruction.histories import Histories
from recbole_tslrec.reconstruction.network import ITEM_SEQ, ITEM_SEQ_LEN, PREFERENCE_TARGET
from recbole_tslrec.reconstruction.targets import joined_targets
from recbole_tslrec.reconstruction.views import split_histories


@dataclass(frozen=True)
class UserExamples:
    """The examples of some of the users, and the steps of an epoch over them.

    Attributes:
        histories: the training part of every user.
        targets: g-bar, [U, K].
        max_items: how many of the most recent items the prompt takes.
        users: those that belong to these examples.
        batch_size: users a step.
        seed: of their order, and of the views.
        rest_groupings: for ``target_view: rest``, what its targets are made of; ``None`` for ``own``.
        item_tokens: that each of the item ids 0..N takes in a prompt, int64 [N + 1]; ``None``: one each.
    """

    histories: Histories
    targets: Tensor
    max_items: int
    users: NDArray[np.int64]
    batch_size: int
    seed: int
    rest_groupings: Sequence[Grouping] | None = None
    item_tokens: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.users)

    @property
    def item_counts(self) -> NDArray[np.int64]:
        """Items in the prompt of every user, [U]."""
        return np.minimum(self.histories.lengths, self.max_items)

    @cached_property
    def token_counts(self) -> NDArray[np.int64]:
        """Tokens of the items in the prompt of every user, [U]."""
        if self.item_tokens is None:
            return self.item_counts
        before = np.concatenate([[0], np.cumsum(self.item_tokens[self.histories.items])])
        ends = self.histories.offsets[1:]
        counts: NDArray[np.int64] = before[ends] - before[ends - self.item_counts]
        return counts

    @property
    def fingerprint(self) -> str:
        """A hash of these users' prompts and targets."""
        flat = np.concatenate([self.histories[user][-self.max_items :] for user in self.users])
        return hash_arrays(self.users, flat, self.targets[self.users].numpy())

    def in_epoch(self, epoch: int) -> "UserExamples":
        """What the users' prompts and targets are in an epoch: these, or with ``target_view: rest`` new views."""
        if self.rest_groupings is None:
            return self
        prompts, rests = split_histories(self.histories, self.max_items, self.seed, epoch)
        targets = joined_targets(rests, self.rest_groupings)
        return replace(self, histories=prompts, targets=targets, rest_groupings=None)

    def steps(self, epoch: int) -> list[NDArray[np.int64]]:
        """The users of each step of an epoch."""
        return plan_steps(self.token_counts, self.users, self.batch_size, self.seed, epoch)

    def interaction(self, users: NDArray[np.int64]) -> Any:
        """Users -> item_seq [B, L], pads behind, item_seq_len [B] and preference_target [B, K]."""
        sequences = [torch.from_numpy(self.histories[user][-self.max_items :]) for user in users]
        return Interaction(
            {
                ITEM_SEQ: torch.nn.utils.rnn.pad_sequence(sequences, batch_first=True),
                ITEM_SEQ_LEN: torch.tensor([len(sequence) for sequence in sequences]),
                PREFERENCE_TARGET: self.targets[users],
            }
        )
