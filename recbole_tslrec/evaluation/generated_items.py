"""The ranks of targets in lists that a model generates: what is not generated has no place."""

import numpy as np
from numpy.typing import NDArray

from recbole_tslrec.evaluation.held_out import HeldOut
from recbole_tslrec.evaluation.history_modes import Ranks

Integers = NDArray[np.int64]


def rank_generated(rows: HeldOut, part: slice, generated: Integers) -> Ranks:
    """The ranks of some rows: the place in the list, or the last one of all items.

    HR@k and NDCG@k are then those of the lists, as they are published. Without the history in the ranking a target
    moves up by the items of the history before it in its list; one that was not generated stays last.

    Args:
        rows: the held-out rows.
        part: which of them.
        generated: item ids, best first, 0 behind where there are fewer, int64 [R, k].
    """
    target = rows.target[part]
    is_target = generated == target[:, None]  # [R, k]
    found = is_target.any(axis=1)
    place = np.where(found, is_target.argmax(axis=1), 0)
    had = rows.distinct(part)
    other = had.item != target[had.row]
    pairs = np.sort(had.row[other] * (rows.item_count + 1) + had.item[other])
    listed = np.arange(len(target))[:, None] * (rows.item_count + 1) + generated
    at = np.minimum(np.searchsorted(pairs, listed), max(len(pairs) - 1, 0))
    is_seen = (pairs[at] == listed) if len(pairs) else np.zeros(listed.shape, dtype=np.bool_)
    before = np.arange(generated.shape[1]) < place[:, None]
    seen_before = (is_seen & before & (generated > 0)).sum(axis=1)
    return Ranks(np.where(found, 1 + place, rows.item_count), np.where(found, seen_before, 0))
