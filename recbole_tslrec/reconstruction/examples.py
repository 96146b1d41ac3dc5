"""One training example per user: the most recent items of the history, and the preference target."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from recbole_tslrec.data.groupings import Grouping
from recbole_tslrec.data.histories import Histories
from recbole_tslrec.reconstruction.targets import preference_targets
from recbole_tslrec.reconstruction.views import split_histories
from recbole_tslrec.sft.examples import Examples


def user_examples(
    histories: Histories,
    targets: Tensor,
    max_items: int,
    batch_size: int,
    seed: int,
    item_tokens: NDArray[np.int64] | None = None,
) -> Examples:
    """An example for each user, all of them chosen.

    Args:
        histories: the training part of every user.
        targets: g-bar, [U, K].
        max_items: how many of the most recent items the prompt takes.
        batch_size: users a step.
        seed: the seed of their order.
        item_tokens: as in :class:`~recbole_tslrec.sft.examples.Examples`.
    """
    ends = histories.offsets[1:]
    starts = ends - np.minimum(histories.lengths, max_items)
    chosen = np.arange(len(histories))
    return Examples(histories.items, starts, ends, targets, chosen, batch_size, seed, item_tokens)


@dataclass(frozen=True)
class RestViews:
    """``target_view: rest``: in each epoch other prompts of the same users, and targets of what they leave.

    Attributes:
        histories: the training part of every user.
        grouping: that the targets are made of.
        max_items: the most items of a prompt.
        whole: the users' examples with whole histories; their order, steps and users are taken.
    """

    histories: Histories
    grouping: Grouping
    max_items: int
    whole: Examples

    def __len__(self) -> int:
        return len(self.whole)

    @property
    def longest_prompt(self) -> int:
        """The most tokens that the items of a prompt take: those of a whole history."""
        return self.whole.longest_prompt

    def in_epoch(self, epoch: int) -> Examples:
        """The prompts and targets of an epoch."""
        whole = self.whole
        prompts, rests = split_histories(self.histories, self.max_items, whole.seed, epoch)
        targets = preference_targets(rests, *self.grouping)
        of_users = user_examples(prompts, targets, self.max_items, whole.batch_size, whole.seed, whole.item_tokens)
        return replace(of_users, chosen=whole.chosen)
