"""Rankings without a model, which every table of models should show beside them."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recbole_tslrec.evaluation.held_out import Distinct, HeldOut
from recbole_tslrec.evaluation.history_modes import Ranks, ranks_all_items

Integers = NDArray[np.int64]


def popularity(rows: HeldOut) -> Ranks:
    """The items by their number of training interactions, the same order for all users; ties by item id."""
    order = np.lexsort((np.arange(len(rows.popularity)), -rows.popularity))
    order = order[order > 0]  # without the pad
    rank = np.empty(len(rows.popularity), dtype=np.int64)
    rank[order] = np.arange(1, len(order) + 1)
    own = rank[rows.target]
    return Ranks.joined(_by_order(own[part], rank, had) for part, had in _histories(rows))


def _by_order(own: Integers, rank: Integers, had: Distinct) -> Ranks:
    return Ranks(own, _count(len(own), rank[had.item] < own[had.row], had))


def last_items(rows: HeldOut) -> Ranks:
    """The distinct items of the user's history, the most recent first.

    It says nothing of the other items, so a target that is not in the history counts as the last of all. On data with
    repeats this is hard to beat: it has an HR@10 of .0620 on Yelp's test items, in the mode ``unmasked``.
    """
    return Ranks.joined(_last_items(rows.target[part], had, rows.item_count) for part, had in _histories(rows))


def _last_items(target: Integers, had: Distinct, item_count: int) -> Ranks:
    is_target = had.item == target[had.row]
    own = np.full(len(target), -1)  # the target's latest place; before every place where it is in no history
    own[had.row[is_target]] = had.latest[is_target]
    seen_before = _count(len(target), had.latest > own[had.row], had)
    return Ranks(np.where(own < 0, item_count, 1 + seen_before), seen_before)


def _histories(rows: HeldOut) -> Iterator[tuple[slice, Distinct]]:
    for part in rows.slices():
        yield part, rows.distinct(part)


def _count(rows: int, chosen: NDArray[np.bool_], had: Distinct) -> Integers:
    """How many of the chosen items each row has, int64 [rows]."""
    return np.bincount(had.row[chosen], minlength=rows)


MODEL_FREE: dict[str, Callable[[HeldOut], Ranks]] = {"popularity": popularity, "last_items": last_items}


def check_model_free(config: Any, row: str) -> None:
    """Refuse an unknown row, and an evaluation that does not rank all items.

    Raises:
        ValueError: names the row or the key.
    """
    if row not in MODEL_FREE:
        raise ValueError(f"there is no model-free row [{row}]; the rows are {', '.join(MODEL_FREE)}")
    if not ranks_all_items(config["eval_args"]):
        raise ValueError(f"row [{row}] ranks all items, and eval_args has another mode; set its mode to full")
