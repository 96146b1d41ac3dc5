"""Training rows for ``prefixes_per_user``: in every epoch a few prefixes of each user, other ones each time.

An epoch over all prefixes of long histories is long: ml-1m has a million. Where a network cannot be trained at all
positions at once, a sample of the prefixes gives early stopping its validations sooner, and every user the same weight
(our choice).
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from recbole.data.dataloader import TrainDataLoader
from recbole.data.interaction import Interaction


class PrefixSampleLoader(TrainDataLoader):  # type: ignore[misc]  # RecBole is untyped
    """Batches of ``train_batch_size`` rows out of at most ``prefixes_per_user`` of each user, drawn for each epoch."""

    def __init__(self, config: Any, dataset: Any, sampler: Any, shuffle: bool = True) -> None:
        self.users: NDArray[np.int64] = dataset.inter_feat[dataset.uid_field].numpy()  # [rows]
        self.prefixes_per_user = config["prefixes_per_user"]
        self.drawn = int(np.minimum(np.bincount(self.users), self.prefixes_per_user).sum())  # rows of an epoch
        super().__init__(config, dataset, sampler, shuffle)

    def __len__(self) -> int:
        """Steps of an epoch of this process."""
        steps: int = -(-(self.drawn // self._processes) // self.step)
        return steps

    def __iter__(self) -> Iterator[Interaction]:
        random = np.random.default_rng(int(torch.randint(2**62, (1,), generator=self.generator)))
        rows = rows_of_each_user(self.users, self.prefixes_per_user, random)
        rows = random.permutation(rows) if self.shuffle else np.sort(rows)
        rows = rows[: self.drawn // self._processes * self._processes]  # equally many for each process
        own = rows[self.config["local_rank"] if self._processes > 1 else 0 :: self._processes]
        for start in range(0, len(own), self.step):
            yield self.collate_fn(own[start : start + self.step])

    @property
    def _processes(self) -> int:
        return 1 if self.config["single_spec"] else int(self.config["world_size"])


def rows_of_each_user(users: NDArray[np.int64], most: int, random: np.random.Generator) -> NDArray[np.int64]:
    """Rows drawn without replacement, at most ``most`` of each user.

    Args:
        users: the user of each row, [rows].
        most: rows of a user.
        random: draws them.

    Returns:
        The numbers of the rows, by user.
    """
    order = np.lexsort((random.random(len(users)), users))  # those of a user together, in random order
    owner = users[order]
    is_first = np.concatenate([[True], owner[1:] != owner[:-1]])
    place = np.arange(len(order))
    start = np.maximum.accumulate(np.where(is_first, place, 0))
    drawn: NDArray[np.int64] = order[place - start < most]
    return drawn
