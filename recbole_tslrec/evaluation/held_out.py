"""The held-out rows of a dataset, each with all that its user had before."""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recbole_tslrec.data import Data

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
    cut to ``MAX_ITEM_LIST_LENGTH``. With ``benchmark_filename`` it is the list of the row itself, and the training part
    of a user is the targets of its training rows.

    Attributes:
        part: one of :data:`PARTS`.
        loader: RecBole's.
        user_tokens: external tokens, [R].
        target: item ids, int64 [R].
        items: in which the histories lie, item ids.
        start: where each begins, int64 [R].
        length: of each, int64 [R].
        sequence_length: interactions in the user's training part, int64 [R].
        popularity: training interactions of each item, by item id, int64 [N + 1].
    """

    part: str
    loader: Any
    user_tokens: NDArray[np.str_]
    target: Integers
    items: Integers
    start: Integers
    length: Integers
    sequence_length: Integers
    popularity: Integers

    def __len__(self) -> int:
        return len(self.target)

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
        yield from (slice(start, stop) for start, stop in zip(edges, edges[1:], strict=False) if stop > start)

    def distinct(self, rows: slice) -> Distinct:
        """The distinct items of the histories of some rows, which are counted from the first of them."""
        row, place = self._places(rows)
        ids = len(self.popularity)  # N + 1
        # of the reversed pairs the first of each is the latest
        pairs, first = np.unique((row * ids + self.items[place])[::-1], return_index=True)
        return Distinct(*np.divmod(pairs, ids), place[::-1][first])

    def _places(self, rows: slice) -> tuple[Integers, Integers]:
        """(row counted from the first, place in ``items``) of everything in the histories of some rows."""
        start, length = self.start[rows], self.length[rows]
        row = np.repeat(np.arange(len(length)), length)
        step = np.arange(len(row)) - np.repeat(np.cumsum(length) - length, length)
        return row, start[row] + step


def held_out(data: Data, part: str) -> HeldOut:
    """The rows of a part.

    Args:
        data: the dataset.
        part: one of :data:`PARTS`.

    Raises:
        ValueError: RecBole's rows do not follow the order of the interactions.
    """
    loaders = dict(zip(("train", *PARTS), data.loaders, strict=True))
    rows = loaders[part]._dataset
    user_ids, target = _column(rows, rows.uid_field), _column(rows, rows.iid_field)
    given = rows.benchmark_filename_list is not None
    histories = _given_histories(rows) if given else _histories_before(data, part, user_ids, target)
    training_lengths, training_items = _given_training(data) if given else _training(data)
    return HeldOut(
        part=part,
        loader=loaders[part],
        user_tokens=np.asarray(rows.field2id_token[rows.uid_field], dtype=str)[user_ids],
        target=target,
        **histories,
        sequence_length=training_lengths[user_ids],
        popularity=np.bincount(training_items, minlength=rows.item_num),
    )


def _column(dataset: Any, field: str) -> Integers:
    values: Integers = dataset.inter_feat[field].numpy().astype(np.int64)
    return values


def _rows_per_user(dataset: Any) -> Integers:
    """[users + 1], by user id."""
    return np.bincount(_column(dataset, dataset.uid_field), minlength=dataset.user_num)


def _histories_before(data: Data, part: str, user_ids: Integers, target: Integers) -> dict[str, Integers]:
    """Where the history of each row lies among all interactions.

    A user's n interactions are n - 1 rows in the order of time, of which each part has some (see
    ``reconstruction/histories.py``): with t rows in the parts before and k before it in its own, a row's target is the
    interaction number t + k + 1, counted from 0.
    """
    train, valid, _ = (loader._dataset for loader in data.loaders)
    earlier = _rows_per_user(train) + (_rows_per_user(valid) if part == "test" else 0)
    length = 1 + earlier[user_ids] + _count_before(user_ids)
    offsets = np.zeros(train.user_num, dtype=np.int64)
    offsets[_user_ids(data)] = data.full.offsets[:-1]
    start = offsets[user_ids]
    place = np.minimum(start + length, len(data.full.items) - 1)
    if not np.array_equal(data.full.items[place], target):
        raise ValueError(
            f"the {part} rows of [{data.dataset.dataset_name}] do not follow the order of the interactions, so that the "
            "histories before them cannot be told; check eval_args, whose order must be TO"
        )
    return {"items": data.full.items, "start": start, "length": length}


def _user_ids(data: Data) -> Integers:
    """The id of each user of ``data.full``."""
    ids = data.dataset.field2token_id[data.dataset.uid_field]
    return np.array([ids[token] for token in data.full.user_tokens], dtype=np.int64)


def _count_before(values: Integers) -> Integers:
    """How many equal values stand before each."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    count = np.empty_like(values)
    count[order] = np.arange(len(values)) - np.searchsorted(ordered, ordered)
    return count


def _training(data: Data) -> tuple[Integers, Integers]:
    """(interactions of each user id, items) of the training part."""
    train, users = data.loaders[0]._dataset, _user_ids(data)
    rows = _rows_per_user(train)
    lengths = np.where(rows > 0, rows + 1, 0)  # t rows are t + 1 interactions
    return lengths, data.full.first(lengths[users]).items


def _given_training(data: Data) -> tuple[Integers, Integers]:
    train = data.loaders[0]._dataset
    return _rows_per_user(train), _column(train, train.iid_field)


def _given_histories(dataset: Any) -> dict[str, Integers]:
    lists = _column(dataset, f"{dataset.iid_field}{dataset.config['LIST_SUFFIX']}")  # [R, L], pads behind
    length = _column(dataset, dataset.config["ITEM_LIST_LENGTH_FIELD"])
    return {"items": lists.reshape(-1), "start": np.arange(len(lists)) * lists.shape[1], "length": length}
