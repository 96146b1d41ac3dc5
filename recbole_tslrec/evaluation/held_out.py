"""The held-out rows of a dataset, each with all that its user had before."""

import functools
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recbole_tslrec.data.dataset import Data

Integers = NDArray[np.int64]
PARTS = ("valid", "test")
_ITEMS = 2**22  # of histories, looked at together


@dataclass(frozen=True)
class Distinct:
    """The distinct items of the histories of R rows, by row and then by item id.

    Attributes:
        row: int64 [n].
        item: item ids, int64 [n].
        latest: the place where the row has the item for the last time; the later, the larger, int64 [n].
    """

    row: Integers
    item: Integers
    latest: Integers


@dataclass(frozen=True)
class HeldOut:
    """The rows of a part, in the order of RecBole's loader, and the histories before their targets.

    A history is all that stands before the target: for the test items the training and the validation items. It is not
    cut to ``MAX_ITEM_LIST_LENGTH``. In files that were split already a history is the list that a row of the file has,
    and the training interactions are the targets of the training rows.

    Attributes:
        loader: RecBole's.
        user_tokens: external tokens, [R].
        target: item ids, int64 [R].
        items: in which the histories lie, item ids.
        start: where each begins, int64 [R].
        length: the length of each history, int64 [R].
        sequence_length: interactions in the user's training part, int64 [R].
        popularity: training interactions of each item, by item id, int64 [N + 1].
    """

    loader: Any
    user_tokens: NDArray[np.object_]
    target: Integers
    items: Integers
    start: Integers
    length: Integers
    sequence_length: Integers
    popularity: Integers

    def __len__(self) -> int:
        return len(self.target)

    @property
    def item_count(self) -> int:
        """N."""
        return len(self.popularity) - 1

    @functools.cached_property
    def repeat(self) -> NDArray[np.bool_]:
        """Whether the target is in the history, [R]."""
        found = np.zeros(len(self), dtype=np.bool_)
        for rows in self.slices():
            row, place = self._places(rows)
            found[rows.start + row[self.items[place] == self.target[rows][row]]] = True
        return found

    def slices(self) -> Iterator[slice]:
        """Slices of rows whose histories together are of a size to be looked at."""
        block = np.cumsum(self.length) // _ITEMS
        edges = [0, *(np.flatnonzero(np.diff(block)) + 1).tolist(), len(self)]
        yield from (slice(start, stop) for start, stop in itertools.pairwise(edges) if stop > start)

    def of_users_in(self, loader: Any) -> "HeldOut":
        """The rows of a loader that has some of the users, each with all of its rows and in the same order."""
        if loader is self.loader:
            return self
        ids = (each._dataset.inter_feat[each._dataset.uid_field].numpy() for each in (self.loader, loader))
        kept = np.isin(*ids)
        by_row = ("user_tokens", "target", "start", "length", "sequence_length")
        return replace(self, loader=loader, **{name: getattr(self, name)[kept] for name in by_row})

    def distinct(self, rows: slice | Integers) -> Distinct:
        """The distinct items of the histories of some rows, which are counted from the first of them."""
        row, place = self._places(rows)
        ids = len(self.popularity)  # N + 1
        # of the reversed pairs the first of each is the latest
        pairs, first = np.unique((row * ids + self.items[place])[::-1], return_index=True)
        return Distinct(*np.divmod(pairs, ids), place[::-1][first])

    def _places(self, rows: slice | Integers) -> tuple[Integers, Integers]:
        """(row counted from the first, place in ``items``) of everything in the histories of some rows."""
        start, length = self.start[rows], self.length[rows]
        row = np.repeat(np.arange(len(length)), length)
        step = np.arange(len(row)) - np.repeat(np.cumsum(length) - length, length)
        return row, start[row] + step


def held_out(data: Data, part: str) -> HeldOut:
    """The rows of a part.

    A user's n interactions are n - 1 rows in the order of time, of which each part has some: a row's target is the one
    behind the user's training interactions, its validation rows if they come first, and its rows above it.

    Args:
        data: the dataset.
        part: one of :data:`PARTS`.

    Raises:
        ValueError: the training part cannot be found (:func:`training_histories`), or the rows are in another order.
    """
    if data.dataset.benchmark_filename_list is not None:
        return _held_out_by_files(data, part)
    full, training = data.full, data.histories
    loaders = dict(zip(PARTS, data.loaders[1:], strict=True))
    rows = loaders[part]._dataset
    user, target = _users(data, part), rows.inter_feat[rows.iid_field].numpy()
    validated = np.bincount(_users(data, "valid"), minlength=len(full)) if part == "test" else np.zeros(len(full), int)
    start, length = full.offsets[user], training.lengths[user] + validated[user] + _count_before(user)
    if not np.array_equal(full.items[start + length], target):
        raise ValueError(
            f"the {part} rows of [{data.dataset.dataset_name}] are not in the order of the interactions, so that the "
            "histories before them cannot be told; check eval_args, whose order must be TO"
        )
    return HeldOut(
        loader=loaders[part],
        user_tokens=np.array(full.user_tokens, dtype=object)[user],
        target=target,
        items=full.items,
        start=start,
        length=length,
        sequence_length=training.lengths[user],
        popularity=np.bincount(training.items, minlength=rows.item_num),
    )


def _held_out_by_files(data: Data, part: str) -> HeldOut:
    """The rows of a part that is a file of its own (``benchmark_filename``), each with its history."""
    parts = [loader._dataset for loader in data.loaders]
    place = 1 + PARTS.index(part)
    training, rows, before = parts[0], parts[place], sum(len(each) for each in parts[:place])
    user = rows.inter_feat[rows.uid_field].numpy()
    items, offsets = rows.whole_histories
    edges = offsets[before : before + len(rows) + 1]
    trained = np.bincount(training.inter_feat[training.uid_field].numpy(), minlength=rows.user_num)
    return HeldOut(
        loader=data.loaders[place],
        user_tokens=np.array(rows.field2id_token[rows.uid_field], dtype=object)[user],
        target=rows.inter_feat[rows.iid_field].numpy(),
        items=items,
        start=edges[:-1],
        length=np.diff(edges),
        sequence_length=trained[user],
        popularity=np.bincount(training.inter_feat[training.iid_field].numpy(), minlength=rows.item_num),
    )


def _users(data: Data, part: str) -> Integers:
    """For each row of a part the place of its user in ``data.full``."""
    rows = data.loaders[1 + PARTS.index(part)]._dataset
    ids = rows.field2token_id[rows.uid_field]
    place = np.zeros(rows.user_num, dtype=np.int64)  # [users + 1]
    place[[ids[token] for token in data.full.user_tokens]] = np.arange(len(data.full))
    users: Integers = place[rows.inter_feat[rows.uid_field].numpy()]
    return users


def _count_before(values: Integers) -> Integers:
    """How many equal values stand before each."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    count = np.empty_like(values)
    count[order] = np.arange(len(values)) - np.searchsorted(ordered, ordered)
    return count
