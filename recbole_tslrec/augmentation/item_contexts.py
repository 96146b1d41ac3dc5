"""``export_context: users`` (added here): items as they stand in histories, not alone as in the paper's export."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recbole_tslrec.data.histories import Histories

CONTEXT_USERS = 8  # at most, for each item: enough to average over users, and as many prompts a training epoch has


class ContextBatch(NamedTuple):
    """Prompts that go through the LLM together.

    Attributes:
        items: item ids of all prompts, one prompt after the other, int64 [sum of counts].
        counts: items of each prompt, int64 [B].
        exported: the item that each prompt is for, int64 [B]; its last one.
    """

    items: Tensor
    counts: Tensor
    exported: Tensor


@dataclass(frozen=True)
class ItemContexts:
    """For each of the items 1..N one or more prompts: slices of an array of item ids that end with the item.

    Attributes:
        items: the histories one after the other, then every item alone, int64 [S + N].
        starts: the starts of the prompts, int64 [C]; sorted by the item that they are for.
        ends: the ends of the prompts, int64 [C].
        offsets: item v has the prompts ``offsets[v - 1]:offsets[v]``, int64 [N + 1].
    """

    items: NDArray[np.int64]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    offsets: NDArray[np.int64]

    def counts(self, start: int, stop: int) -> Tensor:
        """How many prompts each of the items start + 1 .. stop has, int64 [stop - start]."""
        return torch.from_numpy(np.diff(self.offsets[start : stop + 1]))

    def batches(self, start: int, stop: int, batch_size: int) -> Iterator[ContextBatch]:
        """The prompts of the items start + 1 .. stop, short ones first.

        Args:
            start: items before the first.
            stop: the last item.
            batch_size: items in the prompts of a batch; a single prompt may have more.
        """
        prompts = np.arange(self.offsets[start], self.offsets[stop])
        lengths = self.ends[prompts] - self.starts[prompts]
        prompts = prompts[np.argsort(lengths, kind="stable")]
        first = total = 0
        for place, length in enumerate(np.sort(lengths).tolist()):
            if total and total + length > batch_size:
                yield self._batch(prompts[first:place])
                first, total = place, 0
            total += length
        yield self._batch(prompts[first:])

    def _batch(self, prompts: NDArray[np.int64]) -> ContextBatch:
        slices = [self.items[self.starts[prompt] : self.ends[prompt]] for prompt in prompts]
        counts = self.ends[prompts] - self.starts[prompts]
        exported = self.items[self.ends[prompts] - 1]
        return ContextBatch(*map(torch.from_numpy, (np.concatenate(slices), counts, exported)))


def sample_contexts(histories: Histories, item_count: int, max_items: int, seed: int) -> ItemContexts:
    """For each item up to :data:`CONTEXT_USERS` random users who have it: their history up to its last occurrence.

    The item comes last, as attention is causal (our choice). An item that no user has stands alone.

    Args:
        histories: the training part of every user, in the item ids 1..N.
        item_count: N.
        max_items: most recent items in a prompt.
        seed: the seed of the choice of users.
    """
    users = np.repeat(np.arange(len(histories)), histories.lengths)
    size = len(histories.items)
    pairs = histories.items * len(histories) + users
    places = size - 1 - np.unique(pairs[::-1], return_index=True)[1]  # of each item of a user, the last
    order = np.random.default_rng(seed).permutation(len(places))
    places = places[order][np.argsort(histories.items[places[order]], kind="stable")]  # by item, users shuffled
    having = np.bincount(histories.items[places], minlength=item_count + 1)[1:]  # users of each item, [N]
    rank = np.arange(len(places)) - np.repeat(np.cumsum(having) - having, having)
    places = places[rank < CONTEXT_USERS]
    alone = size + np.flatnonzero(having == 0)
    starts = np.concatenate([np.maximum(histories.offsets[users[places]], places + 1 - max_items), alone])
    ends = np.concatenate([places, alone]) + 1
    items = np.concatenate([histories.items, np.arange(1, item_count + 1)])
    by_item = np.argsort(items[ends - 1], kind="stable")
    prompts = np.maximum(1, np.minimum(having, CONTEXT_USERS))  # of each item, [N]
    return ItemContexts(items, starts[by_item], ends[by_item], np.concatenate([[0], np.cumsum(prompts)]))
