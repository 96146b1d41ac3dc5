"""Training rows for ``train_mode: all_positions``: a stretch of a history in which every position has its next item.

RecBole trains a history of n items as n - 1 prefixes, each through the whole network. A causal network computes all of
them in one pass over the history, as SASRec's authors train it (Kang and McAuley, ICDM 2018).
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from recbole.data.dataloader import TrainDataLoader
from recbole.data.interaction import Interaction
from torch import Tensor

from recbole_tslrec.sequential.prefixes import PrefixDataset, PrefixRows, places_before, take

_BATCHES_SORTED = 16  # batches among which rows are sorted by length, so that little is padded


class WindowLoader(TrainDataLoader):  # type: ignore[misc]  # RecBole is untyped
    """Batches of windows with ``train_batch_size`` targets each, so that an epoch has as many steps as RecBole's.

    A batch holds ``item_seq`` [B, L], its lengths [B] and, under the target's name, the next item of every position
    [B, L], 0 at pads; with pairwise losses also a negative for each. L is the longest of the batch. A window is at most
    ``MAX_ITEM_LIST_LENGTH`` long; longer histories are cut into several, at other places each epoch (our choice: where
    a window begins, the items before it are not seen).

    Raises:
        ValueError: the dataset has no histories, only rows that were split elsewhere.
    """

    def __init__(self, config: Any, dataset: PrefixDataset, sampler: Any, shuffle: bool = True) -> None:
        if not isinstance(dataset.inter_feat, PrefixRows):
            raise ValueError(
                "train_mode all_positions needs histories, and benchmark_filename or a dataset class of your own gives "
                "rows that are split already; give the plain .inter file, or set --train_mode=prefix"
            )
        self.runs = runs_of_targets(dataset.inter_feat.targets.numpy())
        super().__init__(config, dataset, sampler, shuffle)

    def __len__(self) -> int:
        """Steps of an epoch, near enough for a progress bar: cuts differ between epochs."""
        batches: int = -(-len(self._dataset) // self.step)
        return max(1, batches)

    def __iter__(self) -> Iterator[Interaction]:
        random = np.random.default_rng(int(torch.randint(2**62, (1,), generator=self.generator)))
        longest = self.config["MAX_ITEM_LIST_LENGTH"]
        start, stop = cut_into_windows(self.runs, longest, random)
        for batch in self._own_share(batches_of_windows(stop - start, self.step, random, self.shuffle)):
            yield self.collate(torch.from_numpy(start[batch]), torch.from_numpy(stop[batch]))

    def _own_share(self, batches: list[NDArray[np.int64]]) -> list[NDArray[np.int64]]:
        """The batches of this process: all processes draw the same ones and take equally many."""
        if self.config["single_spec"]:
            return batches
        processes, rank = self.config["world_size"], self.config["local_rank"]
        if len(batches) < processes:  # each needs one, or the others would wait for it
            return [batches[rank % len(batches)]]
        return batches[rank : len(batches) // processes * processes : processes]

    def collate(self, start: Tensor, stop: Tensor) -> Interaction:
        """The batch of windows whose targets are the interactions ``start .. stop - 1``, int64 [B] each."""
        dataset, length = self._dataset, stop - start
        width = int(length.max())
        items = dataset.interactions[dataset.iid_field]
        target = take(items, *places_before(stop, length, width))  # [B, L]
        columns = {
            dataset.uid_field: dataset.interactions[dataset.uid_field][start],
            dataset.item_id_list_field: take(items, *places_before(stop - 1, length, width)),
            dataset.item_list_length_field: length,
            dataset.iid_field: target,
        }
        if self.neg_sample_args["distribution"] != "none":
            columns[self.neg_item_id] = self._negatives(columns[dataset.uid_field], target)
        return Interaction(columns)

    def _negatives(self, users: Tensor, target: Tensor) -> Tensor:
        """One negative for each target, 0 at pads: int64 [B, L]."""
        counts = target > 0
        owner = users.unsqueeze(1).expand_as(target)[counts].numpy()
        negative = torch.zeros_like(target)
        negative[counts] = self._sampler.sample_by_user_ids(owner, target[counts].numpy(), 1)
        return negative


def runs_of_targets(targets: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The stretches of neighbouring places in ``targets``: their starts and (exclusive) stops.

    A user's first interaction is no target, so a stretch never reaches over two users.
    """
    is_target = np.zeros(targets.max() + 3, dtype=np.int8)  # a place more at both ends
    is_target[targets + 1] = 1
    edges = np.flatnonzero(np.diff(is_target))
    return edges[::2], edges[1::2]


def cut_into_windows(
    runs: tuple[NDArray[np.int64], NDArray[np.int64]], longest: int, random: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Cut stretches into windows of at most ``longest``, those that are longer at a random place first.

    Returns:
        Starts and (exclusive) stops of the windows; together they cover each stretch once.
    """
    start, stop = runs
    length = stop - start
    offset = np.where(length > longest, random.integers(1, longest + 1, len(start)), longest)  # of the first window
    count = 1 + np.maximum(0, -(-(length - offset) // longest))
    owner = np.repeat(np.arange(len(start)), count)
    number = np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count)  # of the window in its stretch
    last = np.minimum(start[owner] + offset[owner] + number * longest, stop[owner])
    first = np.where(number == 0, start[owner], start[owner] + offset[owner] + (number - 1) * longest)
    return first, last


def batches_of_windows(
    length: NDArray[np.int64], targets: int, random: np.random.Generator, shuffle: bool = True
) -> list[NDArray[np.int64]]:
    """Put windows into batches of about ``targets`` positions, windows of like length together.

    Args:
        length: the length of each window.
        targets: positions of a batch; the last of them is the window that reaches it.
        random: for the order.
        shuffle: whether windows and batches are put in random order.

    Returns:
        The windows of each batch.
    """
    order = random.permutation(len(length)) if shuffle else np.arange(len(length))
    pool = (np.cumsum(length[order]) - 1) // (targets * _BATCHES_SORTED)
    order = order[np.lexsort((length[order], pool))]  # by length within a pool
    batch = (np.cumsum(length[order]) - 1) // targets
    batches = np.split(order, np.flatnonzero(np.diff(batch)) + 1)
    return [batches[number] for number in random.permutation(len(batches))] if shuffle else batches
