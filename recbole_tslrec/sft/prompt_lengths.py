"""How long the prompts of a dataset are, user by user and instance by instance, and samples that stand for them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from recbole_tslrec.sft.examples import Examples


@dataclass(frozen=True)
class PromptLengths:
    """The training histories of a dataset.

    Attributes:
        users: their number.
        items: N.
        history: length of each user's training history, int64 [users].
        max_items: most recent items in a prompt.
    """

    users: int
    items: int
    history: NDArray[np.int64]
    max_items: int

    @property
    def prompt_items(self) -> NDArray[np.int64]:
        """Items in the training prompt of each user, [users]."""
        return np.minimum(self.history, self.max_items)

    @property
    def inference_items(self) -> NDArray[np.int64]:
        """Items in the prompt from which the test item is predicted: the validation item belongs to it, [users]."""
        return np.minimum(self.history + 1, self.max_items)

    @property
    def instance_items(self) -> NDArray[np.int64]:
        """Items in each prompt of an instance-level epoch.

        One prompt for each training interaction but a user's first, for at most the ``max_items`` most recent ones.
        """
        # the target at place t (from 0) has t items before it
        places = [np.arange(max(1, length - self.max_items), length) for length in self.history.tolist()]
        return np.minimum(np.concatenate(places), self.max_items)


def sample(population: NDArray[np.int64], count: int, seed: int = 0) -> NDArray[np.int64]:
    """``count`` values in random order whose distribution is that of the population: its evenly spaced quantiles.

    So a small sample has nearly the population's mean and spread, and the same one every time.
    """
    ordered = np.sort(population)
    places = ((np.arange(count) + 0.5) / count * len(ordered)).astype(np.int64)
    return np.random.default_rng(seed).permutation(ordered[places])


def random_examples(
    item_counts: NDArray[np.int64], items: int, targets: Tensor, batch_size: int, seed: int = 0
) -> Examples:
    """Prompts of the given lengths, of random items: a step's time depends on nothing else.

    Args:
        item_counts: items in each prompt, [U].
        items: N.
        targets: the targets of each prompt, [U, ...].
        batch_size: prompts a step.
        seed: the seed of the items and of the prompts' order.
    """
    flat = np.random.default_rng(seed).integers(1, items + 1, int(item_counts.sum()))
    ends = np.cumsum(item_counts)
    return Examples(flat, ends - item_counts, ends, targets, np.arange(len(item_counts)), batch_size, seed)
