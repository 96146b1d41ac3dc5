"""How often users and items occur: RecBole's count filters, without a Python object for each interaction."""

from collections.abc import Callable
from typing import Any

import numpy as np

from recbole_tslrec.compatibility.wrapping import wrap_once


def apply() -> None:
    """Let RecBole's datasets filter by numbers of interactions with arrays."""
    from recbole.data.dataset import Dataset

    wrap_once(Dataset, "_filter_by_inter_num", _filter_by_counts)


def _filter_by_counts(filter_by_inter_num: Callable[..., Any], dataset: Any) -> None:
    # RecBole counts with `Counter`, and asks of each user in Python whether its number lies in an interval, also where
    # the interval is [0,inf), the default of sequential models: seconds a million interactions to drop none. What is
    # dropped, round by round, is the same here.
    if dataset.uid_field is None or dataset.iid_field is None:
        return
    sides = [
        _Side(dataset, "user", dataset.uid_field),
        _Side(dataset, "item", dataset.iid_field),
    ]
    if all(side.intervals is None for side in sides):
        return
    kept = np.ones(len(dataset.inter_feat), dtype=bool)
    while True:
        banned = [side.ban(kept) for side in sides]
        if not any(banned):
            break
        for side in sides:
            kept &= ~side.banned[side.codes]
    if not kept.all():
        dataset.inter_feat.drop(dataset.inter_feat.index[~kept], inplace=True)


class _Side:
    """The users, or the items, of a dataset: their interactions, and their rows in a file of their own.

    Attributes:
        intervals: how many interactions one may have; ``None`` for any number.
        codes: the number of each interaction's user or item.
        banned: which of these numbers a round bans.
    """

    def __init__(self, dataset: Any, name: str, field: str) -> None:
        import pandas

        self.dataset, self.name, self.field = dataset, f"{name}_feat", field
        self.intervals = dataset._parse_intervals_str(dataset.config[f"{name}_inter_num_interval"])
        self.codes, self.tokens = pandas.factorize(dataset.inter_feat[field].to_numpy(), use_na_sentinel=False)
        self.banned = np.zeros(len(self.tokens), dtype=bool)

    def ban(self, kept: Any) -> bool:
        """Find those whose number of kept interactions lies in no interval; drop their rows. Whether there are any."""
        self.banned = np.zeros(len(self.tokens), dtype=bool)
        if self.intervals is None:
            return False
        if len(self.intervals) > 1:
            self.dataset.logger.warning("More than one interval of interaction number are given!")
        counts = np.bincount(self.codes[kept], minlength=len(self.tokens))
        # who has lost all interactions is forgotten, as RecBole's counter forgets it
        self.banned = (counts > 0) & ~np.asarray(self.dataset._within_intervals(counts, self.intervals))
        return self._ban_rows(counts) | bool(self.banned.any())

    def _ban_rows(self, counts: Any) -> bool:
        """Rows of a file of users or items go with them, and where they have fewer than the first interval's least."""
        import pandas

        rows = getattr(self.dataset, self.name)
        if rows is None:
            return False
        place = pandas.Index(self.tokens).get_indexer(rows[self.field].to_numpy())  # -1: without interactions
        is_known = place >= 0
        has_few = np.where(is_known, counts[place], 0) < self.intervals[0][1]
        self.banned[place[has_few & is_known]] = True
        is_dropped = has_few | (is_known & self.banned[place])
        if is_dropped.any():
            rows.drop(rows.index[is_dropped], inplace=True)
        return bool(is_dropped.any())
