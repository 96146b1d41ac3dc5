"""One training example per user: the most recent items of the history, and the preference target."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from recbole.data.interaction import Interaction
from torch import Tensor

from recbole_tslrec.artifacts import hash_arrays
from recbole_tslrec.reconstruction.batching import plan_steps
from recbole_tslrec.reconstruction.histories import Histories
from recbole_tslrec.reconstruction.network import ITEM_SEQ, ITEM_SEQ_LEN, PREFERENCE_TARGET


@dataclass(frozen=True)
class UserExamples:
    """The examples of some of the users, and the steps of an epoch over them.

    Attributes:
        histories: the training part of every user.
        targets: g-bar, [U, K].
        max_items: how many of the most recent items the prompt takes.
        users: those that belong to these examples.
        batch_size: users a step.
        seed: of their order.
    """

    histories: Histories
    targets: Tensor
    max_items: int
    users: NDArray[np.int64]
    batch_size: int
    seed: int

    def __len__(self) -> int:
        return len(self.users)

    @property
    def item_counts(self) -> NDArray[np.int64]:
        """Items in the prompt of every user, [U]."""
        return np.minimum(self.histories.lengths, self.max_items)

    @property
    def fingerprint(self) -> str:
        """A hash of these users' prompts and targets."""
        flat = np.concatenate([self.histories[user][-self.max_items :] for user in self.users])
        return hash_arrays(self.users, flat, self.targets[self.users].numpy())

    def steps(self, epoch: int) -> list[NDArray[np.int64]]:
        """The users of each step of an epoch."""
        return plan_steps(self.item_counts, self.users, self.batch_size, self.seed, epoch)

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
