"""RecBole's training rows, a prefix and its next item each, without holding the prefixes.

RecBole copies every prefix into every list column before the first step: ml-1m at length 200 becomes a million rows of
200, 4.9 GiB and 12 s (RecBole#1537). Here a row is the place of its target among the interactions; a batch gathers its
columns when it is asked for, and whoever asks for a column of a whole dataset gets it made then. Rows, their order,
columns and values are RecBole's.
"""

from collections.abc import Iterator, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from recbole.data.dataset import SequentialDataset
from recbole.data.interaction import Interaction
from recbole.utils.enum_type import FeatureType
from torch import Tensor

from recbole_tslrec.compatibility.row_groups import Groups
from recbole_tslrec.compatibility.time_order import in_order

_ROWS_AT_ONCE = 2**14  # of a list column that is made: what is needed beside the column stays small


class PrefixDataset(SequentialDataset):  # type: ignore[misc]  # RecBole is untyped
    """RecBole's ``SequentialDataset`` with columns that are made when they are asked for.

    Attributes:
        interactions: every interaction once, by (user, time); shared by the parts of a split, never changed.
        inter_feat: a row for each interaction but a user's first (:class:`PrefixRows`); what ``benchmark_filename``
            gives has its list columns already and is RecBole's own ``Interaction``.
        known_order: where an earlier run has left them, the targets of all rows by time, and the rows' groups by user
            then.
    """

    interactions: Any
    inter_feat: Any
    known_order: tuple[NDArray[np.int64], Groups] | None = None
    _all_rows: Any = None  # their columns, as they are made
    _in_known_order: Any = None  # the columns that were brought into it

    def data_augmentation(self) -> None:
        """Give every interaction but a user's first a row; replaces the copies that RecBole makes."""
        self._aug_presets()
        self._check_field("uid_field", "time_field")
        if self.known_order is None and not self._is_in_order():
            self.sort(by=[self.uid_field, self.time_field], ascending=True)
        self.interactions = self.inter_feat
        position = position_in_history(self.interactions[self.uid_field])
        lists = {getattr(self, f"{name}_list_field"): name for name in self.interactions if name != self.uid_field}
        histories = Histories(self.interactions, position, self.max_item_list_len, lists)
        self.inter_feat = histories.rows(self.item_list_length_field)
        self._all_rows = self.inter_feat.interaction

    def _is_in_order(self) -> bool:
        if self.time_field not in self.inter_feat or self.inter_feat[self.time_field].dim() > 1:
            return False
        return in_order(self.inter_feat[self.uid_field], self.inter_feat[self.time_field])

    def sort(self, by: Any, ascending: Any = True) -> None:
        """Sort the rows in place; what ``known_order`` knows is not sorted again."""
        rows = self.inter_feat
        if self.known_order is None or by != self.time_field or rows.interaction is not self._all_rows:
            super().sort(by, ascending)
            return
        columns = rows.interaction
        rows.interaction = PrefixColumns(
            dict.fromkeys(columns), torch.from_numpy(self.known_order[0]), columns.histories
        )
        self._in_known_order = rows.interaction

    def leave_one_out(self, group_by: str | None, leave_one_mode: str) -> list[Any]:
        """RecBole's parts; rows whose groups are known need no column of users for it."""
        groups = self._known_groups()
        if groups is None or group_by is None or leave_one_mode != "valid_and_test":
            parts: list[Any] = super().leave_one_out(group_by, leave_one_mode)
            return parts
        return self._parts(groups.last_apart(2))

    def split_by_ratio(self, ratios: Sequence[float], group_by: str | None = None) -> list[Any]:
        """RecBole's parts."""
        if group_by is None:
            parts: list[Any] = super().split_by_ratio(ratios)
            return parts
        groups = self._grouped_index(self.inter_feat[group_by].numpy())
        return self._parts(groups.by_ratio([ratio / sum(ratios) for ratio in ratios]))

    def time_based_split(self, ratios: Sequence[float], group_by: str | None) -> list[Any]:
        """RecBole's parts, without a loop over users where their rows are in order of time."""
        if group_by is not None and self.time_field in self.inter_feat and len(ratios) == 3:
            groups = self._grouped_index(self.inter_feat[group_by].numpy())
            times = self.inter_feat[self.time_field].numpy()
            if groups.rise(times):
                return self._parts(groups.by_time(times, [ratio / sum(ratios) for ratio in ratios]))
        parts: list[Any] = super().time_based_split(ratios, group_by)
        return parts

    def _parts(self, indices: Sequence[NDArray[np.int64]]) -> list[Any]:
        self._drop_unused_col()
        return [self.copy(self.inter_feat[index]) for index in indices]

    def _grouped_index(self, group_by_list: Any) -> Groups:
        return self._known_groups() or Groups.of(group_by_list)

    def _known_groups(self) -> Groups | None:
        if self.known_order is None or self.inter_feat.interaction is not self._in_known_order:
            return None
        return self.known_order[1]

    def _split_index_by_leave_one_out(self, grouped_index: Groups, leave_one_num: int) -> list[Any]:
        return list(grouped_index.last_apart(leave_one_num))

    def _dataframe_to_interaction(self, data: Any) -> Any:
        """RecBole's ``Interaction``; ids are not copied."""
        ids = [name for name in data if self.field2type[name] == FeatureType.TOKEN and data[name].dtype == np.int64]
        columns = dict(super()._dataframe_to_interaction(data.drop(columns=ids)).interaction)
        columns |= {name: torch.from_numpy(np.require(data[name].to_numpy(), requirements="W")) for name in ids}
        return Interaction({name: columns[name] for name in data})

    def __getitem__(self, index: Any, join: bool = True) -> Any:
        """The rows ``index`` as RecBole's ``Interaction``, with all list columns [B, L], pads behind."""
        batch = self.inter_feat[index]
        if isinstance(batch, PrefixRows):
            batch = Interaction(dict(batch.interaction))  # made here, in a loader's worker if there are any
        return self.join(batch) if join else batch


@dataclass(frozen=True)
class Histories:
    """What list columns are made of.

    Attributes:
        interactions: every interaction, by (user, time).
        position: how many interactions of the same user stand before each, int64 [interactions].
        longest: L, the width of a list column.
        lists: list column -> the column that it lists.
    """

    interactions: Any
    position: Tensor
    longest: int
    lists: dict[str, str]

    def rows(self, length_column: str) -> "PrefixRows":
        """A row for every interaction but a user's first."""
        targets = self.position.nonzero().squeeze(1)
        names = [*self.interactions, length_column, *self.lists]
        return PrefixRows(PrefixColumns(dict.fromkeys(names), targets, self))

    def column(self, targets: Tensor, name: str) -> Tensor:
        """A column of the rows with these targets, int64 [...]; a list column is [..., L], pads behind are 0."""
        if name in self.lists:
            return self.before(targets, name)
        if name in self.interactions:
            column: Tensor = self.interactions[name][targets]
            return column
        return self.position[targets].clamp(max=self.longest)

    def before(self, targets: Tensor, name: str) -> Tensor:
        """The list column ``name`` of the rows with these targets, int64 [...]: [..., L], pads behind are 0."""
        column = self.interactions[self.lists[name]]
        end = targets.reshape(-1)
        made = column.new_empty(len(end), self.longest, *column.shape[1:])
        for start in range(0, len(end), _ROWS_AT_ONCE):
            some = end[start : start + _ROWS_AT_ONCE]
            length = self.position[some].clamp(max=self.longest)
            made[start : start + _ROWS_AT_ONCE] = take(column, *places_before(some, length, self.longest))
        list_column: Tensor = made.view(*targets.shape, *made.shape[1:])
        return list_column


_dict: Any = dict  # to mypy the two bases below disagree in their overloads


class PrefixColumns(MutableMapping[str, Tensor], _dict):  # type: ignore[misc]  # a dict: Interaction takes no other
    """Columns of rows; one is ``None`` inside until somebody asks for it, and kept then.

    All that reads values (``items``, ``get``, ``dict(columns)``, ...) is ``MutableMapping``'s and goes through
    ``__getitem__``.
    """

    def __init__(self, columns: dict[str, Any], targets: Tensor, histories: Histories) -> None:
        _dict.__init__(self, columns)
        self.targets, self.histories = targets, histories

    def __getitem__(self, name: str) -> Tensor:
        column: Tensor | None = _dict.__getitem__(self, name)
        if column is None:
            column = self[name] = self.histories.column(self.targets, name)
        return column

    __contains__, __setitem__, __delitem__ = _dict.__contains__, _dict.__setitem__, _dict.__delitem__
    __len__, __reversed__ = _dict.__len__, _dict.__reversed__

    def __iter__(self) -> Iterator[str]:
        names: Iterator[str] = _dict.__iter__(self)
        return names

    def __repr__(self) -> str:
        return repr(dict(self.items()))

    def __reduce__(self) -> Any:
        return PrefixColumns, (dict(_dict.items(self)), self.targets, self.histories)

    def at(self, index: Any) -> "PrefixColumns":
        """The columns at ``index``, whatever a tensor takes; what nobody asked for is not made."""
        columns = {name: None if column is None else column[index] for name, column in _dict.items(self)}
        return PrefixColumns(columns, self.targets[index], self.histories)


class PrefixRows(Interaction):  # type: ignore[misc]  # RecBole is untyped
    """RecBole's ``Interaction`` with columns that are made when they are asked for.

    Selecting, sorting, shuffling, copying and pickling leave them unmade.
    """

    def __init__(self, columns: PrefixColumns) -> None:
        self.interaction = columns
        self.length = len(columns.targets)

    @property
    def targets(self) -> Tensor:
        """Where the target of each row stands among the interactions, int64 [rows]."""
        targets: Tensor = self.interaction.targets
        return targets

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, str) or not isinstance(self.interaction, PrefixColumns):
            return super().__getitem__(index)
        columns = self.interaction.at(tensor_index(index))
        return PrefixRows(columns) if columns.targets.dim() else Interaction(dict(columns))

    def _reindex(self, index: Any) -> None:
        if isinstance(self.interaction, PrefixColumns):
            self.interaction = self.interaction.at(index)
        else:  # after `add_prefix` it is a plain dict
            super()._reindex(index)


def tensor_index(index: Any) -> Any:
    """``index``, a list or an array as a tensor: read once for all columns."""
    if not isinstance(index, list | np.ndarray | Tensor):
        return index
    index = torch.as_tensor(index)
    return index if index.dtype == torch.bool else index.long()


def position_in_history(users: Tensor) -> Tensor:
    """How many interactions of the same user stand before each, int64 [n]; those of a user stand together."""
    ends = torch.cat([(users[1:] != users[:-1]).nonzero().squeeze(1) + 1, torch.tensor([len(users)])])
    lengths = torch.diff(ends, prepend=torch.zeros(1, dtype=torch.long))
    return torch.arange(len(users)) - torch.repeat_interleave(ends - lengths, lengths)


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
