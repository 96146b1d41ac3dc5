"""Rankings without a model, which every table of models should show beside them."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recbole_tslrec.evaluation.held_out import Distinct, HeldOut
from recbole_tslrec.evaluation.history_modes import Ranks, check_eval_history, ranks_all_items

Integers = NDArray[np.int64]


def popularity(rows: HeldOut) -> Ranks:
    """The items by their number of training interactions, the same order for all users; ties by item id."""
    order = np.lexsort((np.arange(len(rows.popularity)), -rows.popularity))
    order = order[order > 0]  # without the pad
    rank = np.empty(len(rows.popularity), dtype=np.int64)
    rank[order] = np.arange(1, len(order) + 1)
    own = rank[rows.target]
    seen = [_count(part, rank[had.item] < own[part][had.row], had) for part, had in _histories(rows)]
    return Ranks(own, np.concatenate([np.zeros(0, np.int64), *seen]))


def last_items(rows: HeldOut) -> Ranks:
    """The distinct items of the user's history, the most recent first; behind them the others by item id.

    On data with repeats this is hard to beat: Yelp's test items, HR@10 .0620 in the mode ``unmasked``.
    """
    return Ranks.joined(_last_items(rows.target[part], rows.repeat[part], had) for part, had in _histories(rows))


def _last_items(target: Integers, repeat: NDArray[np.bool_], had: Distinct) -> Ranks:
    all_rows = slice(0, len(target))
    is_target = had.item == target[had.row]
    own = np.full(len(target), -1)  # the target's latest place; behind every item where it is in no history
    own[had.row[is_target]] = had.latest[is_target]
    seen_before = _count(all_rows, had.latest > own[had.row], had)
    smaller = _count(all_rows, had.item < target[had.row], had)
    others_before = np.where(repeat, 0, target - 1 - smaller)
    return Ranks(1 + seen_before + others_before, seen_before)


def _histories(rows: HeldOut) -> Iterator[tuple[slice, Distinct]]:
    for part in rows.slices():
        yield part, rows.distinct(part)


def _count(part: slice, chosen: NDArray[np.bool_], had: Distinct) -> Integers:
    """How many of the chosen items each row has, int64 [R]."""
    return np.bincount(had.row[chosen], minlength=part.stop - part.start)


MODEL_FREE: dict[str, Callable[[HeldOut], Ranks]] = {"popularity": popularity, "last_items": last_items}


def check_model_free(config: Any, row: str) -> None:
    """Refuse an unknown row, and an evaluation that does not rank all items.

    Raises:
        ValueError: names the row or the key.
    """
    if row not in MODEL_FREE:
        raise ValueError(f"there is no model-free row [{row}]; the rows are {', '.join(MODEL_FREE)}")
    check_eval_history(config)
    if not ranks_all_items(config):
        raise ValueError(f"row [{row}] ranks all items, and eval_args has another mode; set its mode to full")
