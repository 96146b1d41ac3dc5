"""RecBole's training rows, a prefix and its next item each, without holding the prefixes.

RecBole copies every prefix into every list column before the first step: ml-1m at length 200 becomes a million rows of
200, 4.9 GiB and 12 s (RecBole#1721). Here a row is the place of its target among the interactions, and a batch gathers
its prefixes when it is asked for. Rows, their order and their values are RecBole's.
"""

from typing import Any

import numpy as np
import torch
from recbole.data.dataset import SequentialDataset
from recbole.data.interaction import Interaction
from torch import Tensor

TARGET_ROW = "target_row"  # column: where a row's target stands among `interactions`


class PrefixDataset(SequentialDataset):  # type: ignore[misc]  # RecBole is untyped
    """RecBole's ``SequentialDataset`` with list columns that are made batch by batch.

    Attributes:
        interactions: every interaction once, by (user, time); shared by the parts of a split, never changed.
        inter_feat: a row for each interaction but a user's first: its columns, the length of its prefix and its place.
    """

    interactions: Any
    inter_feat: Any

    def data_augmentation(self) -> None:
        """Give every interaction but a user's first a row; replaces the copies that RecBole makes."""
        self._aug_presets()
        self._check_field("uid_field", "time_field")
        self.sort(by=[self.uid_field, self.time_field], ascending=True)
        self.interactions = self.inter_feat
        position = position_in_history(self.interactions[self.uid_field])  # [interactions]
        targets = position.nonzero().squeeze(1)  # [rows]
        rows = {name: column[targets] for name, column in self.interactions.interaction.items()}
        rows[self.item_list_length_field] = position[targets].clamp(max=self.max_item_list_len)
        rows[TARGET_ROW] = targets
        self.inter_feat = Interaction(rows)

    def __getitem__(self, index: Any, join: bool = True) -> Any:
        """The rows ``index`` with their list columns, [B, L] each, pads behind."""
        if TARGET_ROW not in self.inter_feat:  # benchmark_filename: the list columns come from the file
            return super().__getitem__(index, join)
        batch = self._with_prefixes(index)
        return self.join(batch) if join else batch

    def _with_prefixes(self, index: Any) -> Interaction:
        if isinstance(index, slice):  # RecBole's loader for sampled evaluation asks so
            index = range(len(self))[index]
        index = torch.as_tensor(np.asarray(index), dtype=torch.int64)
        columns = {name: column[index] for name, column in self.inter_feat.interaction.items()}
        end, length = columns.pop(TARGET_ROW), columns[self.item_list_length_field]
        place, is_item = places_before(end, length, self.max_item_list_len)
        for name, column in self.interactions.interaction.items():
            if name != self.uid_field:
                columns[getattr(self, f"{name}_list_field")] = take(column, place, is_item)
        return Interaction(columns)

    def inter_matrix(self, form: str = "coo", value_field: str | None = None) -> Any:
        """RecBole's sparse matrix of users and items."""
        whole = self.copy(self._with_prefixes(np.arange(len(self))))  # it reads the list columns
        return SequentialDataset.inter_matrix(whole, form, value_field)


def position_in_history(users: Tensor) -> Tensor:
    """How many interactions of the same user stand before each, int64 [n]; those of a user stand together."""
    place = torch.arange(len(users))
    is_first = torch.ones_like(users, dtype=torch.bool)
    is_first[1:] = users[1:] != users[:-1]
    start = torch.where(is_first, place, 0).cummax(0).values
    return place - start


def places_before(end: Tensor, length: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """The places ``end - length .. end - 1``.

    Args:
        end: int64 [B].
        length: int64 [B], at most ``width``.
        width: L.

    Returns:
        Places, int64 [B, L], and which of them count, bool [B, L]; the others are 0.
    """
    step = torch.arange(width)
    counts = step < length.unsqueeze(1)  # [B, L]
    return torch.where(counts, (end - length).unsqueeze(1) + step, 0), counts


def take(column: Tensor, place: Tensor, counts: Tensor) -> Tensor:
    """The values of ``column`` [n, ...] at ``place`` [B, L], zero where ``counts`` is false: [B, L, ...]."""
    values = column[place]
    return values.masked_fill_(~counts.view(*counts.shape, *[1] * (values.dim() - 2)), 0)
