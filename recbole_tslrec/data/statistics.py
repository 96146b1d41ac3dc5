"""What a dataset is like: its size, how long its histories are, and what in it a ranking depends on."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recbole_tslrec.compatibility import sort_by_time
from recbole_tslrec.data.dataset import Data
from recbole_tslrec.data.paper_counts import Counts
from recbole_tslrec.data.ties import tied
from recbole_tslrec.data.times import span_of, unit_of

QUANTILES = (0.0, 0.25, 0.5, 0.75, 0.95, 1.0)


@dataclass(frozen=True)
class DatasetStatistics:
    """The statistics of a dataset under leave-one-out: a user's last item is tested on, the last but one validated on.

    Attributes:
        name: the name of the dataset.
        counts: users, items and interactions.
        lengths: interactions of each user, int64 [M].
        popularity: training interactions of each item, int64 [N].
        repeats: interactions with an item that the user has had before.
        ties: interactions at the same time as another one of the user; their order is that of the file.
        repeated_targets: users whose test item is among their earlier ones.
        time_unit: what the times seem to be counted in.
        time_span: the first and the last of them.
    """

    name: str
    counts: Counts
    lengths: NDArray[np.int64]
    popularity: NDArray[np.int64]
    repeats: int
    ties: int
    repeated_targets: int
    time_unit: str
    time_span: str

    @property
    def density(self) -> float:
        """Interactions per user and item."""
        return self.counts.interactions / (self.counts.users * self.counts.items)

    @property
    def mean_length(self) -> float:
        """Interactions per user."""
        return self.counts.interactions / self.counts.users

    @property
    def length_quantiles(self) -> dict[float, float]:
        """Interactions of a user, at :data:`QUANTILES`."""
        return dict(zip(QUANTILES, np.quantile(self.lengths, QUANTILES).tolist(), strict=True))

    @property
    def items_without_training(self) -> int:
        """Items that occur as validation or test target only: their ID embedding is never trained."""
        return int((self.popularity == 0).sum())

    def figures(self) -> Mapping[str, int | float | str]:
        """Everything by its name, for tables and JSON."""
        quantiles = {f"length, {share:.0%} quantile": length for share, length in self.length_quantiles.items()}
        return {
            "users": self.counts.users,
            "items": self.counts.items,
            "interactions": self.counts.interactions,
            "density": self.density,
            "mean length": self.mean_length,
            **quantiles,
            "repeated interactions": self.repeats,
            "repeated interactions, share": self.repeats / self.counts.interactions,
            "interactions tied in time": self.ties,
            "interactions tied in time, share": self.ties / self.counts.interactions,
            "unit of time": self.time_unit,
            "span of time": self.time_span,
            "test targets already in the history": self.repeated_targets,
            "items without a training interaction": self.items_without_training,
        }


def statistics(config: Any) -> DatasetStatistics:
    """Count a dataset as RecBole loads it, filters included.

    Args:
        config: RecBole's configuration, of any sequential model.

    Raises:
        DatasetError: there is no such dataset, or it lacks a column.
    """
    data = Data(config)
    dataset = data.dataset
    ordered = sort_by_time(dataset)
    columns = (dataset.uid_field, dataset.iid_field, dataset.time_field)
    user, item, time = (ordered[column].to_numpy() for column in columns)
    return count(str(config["dataset"]), user, item, time, len(data.item_tokens))


def count(
    name: str, user: NDArray[Any], item: NDArray[np.int64], time: NDArray[np.float64], items: int
) -> DatasetStatistics:
    """The statistics of interactions in order of user and time.

    Args:
        name: the name of the dataset.
        user: the user of each interaction, rising, [interactions].
        item: the item of each interaction, 1..N, [interactions].
        time: the time of each interaction, [interactions].
        items: N.
    """
    lengths = np.unique(user, return_counts=True)[1]
    ends = np.repeat(np.cumsum(lengths), lengths)
    behind = ends - 1 - np.arange(len(user))  # the user's later interactions
    is_training = behind >= np.repeat(held_out(lengths), lengths)
    is_repeat = pd.DataFrame({"user": user, "item": item}).duplicated().to_numpy()
    is_test = (behind == 0) & np.repeat(held_out(lengths) > 0, lengths)
    unit = unit_of(time, user)
    return DatasetStatistics(
        name=name,
        counts=Counts(len(lengths), items, len(user)),
        lengths=lengths.astype(np.int64),
        popularity=np.bincount(item[is_training], minlength=items + 1)[1:].astype(np.int64),
        repeats=int(is_repeat.sum()),
        ties=tied(user, time),
        repeated_targets=int((is_repeat & is_test).sum()),
        time_unit=unit,
        time_span=span_of(time, unit),
    )


def held_out(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many of a user's last interactions RecBole's leave-one-out holds out of training.

    Two; one of a user with three interactions, none of one with fewer, since something must be left to train on.

    Args:
        lengths: interactions of each user, [M].

    Returns:
        [M].
    """
    return np.clip(lengths - 2, 0, 2)
