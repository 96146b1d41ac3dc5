"""How RecBole splits the rows of users, without a list entry for each row."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recbole_tslrec.compatibility.time_order import in_order

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Groups:
    """Rows by group, in the order in which the groups first appear: what RecBole's ``_grouped_index`` lists.

    Attributes:
        rows: the numbers of the rows, those of a group together and rising, [n].
        lengths: rows of each group, [G].
    """

    rows: Integers
    lengths: Integers

    @classmethod
    def of(cls, keys: NDArray[np.int64]) -> "Groups":
        """The groups of rows with the same key, [n]."""
        codes = pd.factorize(keys)[0]
        return cls(np.argsort(codes, kind="stable"), np.bincount(codes))

    def __iter__(self) -> Iterator[Integers]:
        return iter(np.split(self.rows, np.cumsum(self.lengths)[:-1]))

    def last_apart(self, count: int) -> list[Integers]:
        """Each group's last ``count`` rows, a part each, behind a part of all the others; one stays in the first part.

        Returns:
            The rows of ``count + 1`` parts; of a group with fewer rows the last parts are filled first.
        """
        behind = self._spread(np.cumsum(self.lengths)) - 1 - np.arange(len(self.rows))  # later rows of the group
        held = self._spread(np.minimum(count, self.lengths - 1))
        parts = [self.rows[(behind == place) & (place < held)] for place in reversed(range(count))]
        return [self.rows[behind >= held], *parts]

    def by_ratio(self, ratios: Sequence[float]) -> list[Integers]:
        """Each group cut by the ratios, which sum to 1; all parts but the first are rounded down, as RecBole does it.

        Returns:
            The rows of each part.
        """
        counts = np.stack([(ratio * self.lengths).astype(np.int64) for ratio in ratios])
        counts[0] = self.lengths - counts[1:].sum(0)
        can_give = np.ones(len(self.lengths), dtype=bool)
        for place in range(1, len(ratios)):  # a part that would have no row gets one of the first part's
            can_give &= counts[0] > 1
            share = ratios[-place] * self.lengths
            given = can_give & (share > 0) & (share < 1)
            counts[-place] += given
            counts[0] -= given
        return self._cut(np.cumsum(counts, axis=0)[:-1])

    def rise(self, values: NDArray[Any]) -> bool:
        """Whether values of all rows, [n], never fall within a group."""
        return in_order(self._spread(np.arange(len(self.lengths))), values[self.rows])

    def by_time(self, times: NDArray[Any], ratios: Sequence[float]) -> list[Integers]:
        """Each group's rows after a time that is the same for all, and those up to it cut in two (RecBole's ``TS``).

        Args:
            times: of all rows, rising within each group, [n].
            ratios: of the training, the validation and the test part, which sum to 1.

        Returns:
            The rows of the three parts.
        """
        boundary = np.percentile(times, 100 * (1 - ratios[-1]))
        is_early = np.concatenate([[0], np.cumsum(times[self.rows] <= boundary)])  # how many are, up to each row
        ends = np.cumsum(self.lengths)
        early = is_early[ends] - is_early[ends - self.lengths]
        return self._cut([(early * (ratios[0] / (1 - ratios[2]))).astype(np.int64), early])

    def _cut(self, places: Iterable[Integers]) -> list[Integers]:
        """Each group cut at some places [G] each, which rise: the rows of each part."""
        position = np.arange(len(self.rows)) - self._spread(np.cumsum(self.lengths) - self.lengths)
        places = list(places)
        part = sum((position >= self._spread(place)).astype(np.int64) for place in places)
        return [self.rows[part == number] for number in range(len(places) + 1)]

    def _spread(self, values: Integers) -> Integers:
        """A value of each group at each of its rows."""
        return np.repeat(values, self.lengths)
