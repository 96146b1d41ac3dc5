"""Ranks in generated lists, by hand."""

from unittest import mock

import numpy as np

from recbole_tslrec.evaluation.generated_items import rank_generated
from recbole_tslrec.evaluation.held_out import HeldOut


def rows_of(histories: list[list[int]], target: list[int], items: int) -> HeldOut:
    """Held-out rows with these histories."""
    lengths = np.array([len(history) for history in histories])
    return HeldOut(
        loader=mock.Mock(),
        user_tokens=np.array([f"u{row}" for row in range(len(target))], dtype=object),
        target=np.array(target),
        items=np.array([item for history in histories for item in history], dtype=np.int64),
        start=np.cumsum(lengths) - lengths,
        length=lengths,
        sequence_length=lengths,
        popularity=np.zeros(items + 1, dtype=np.int64),
    )


def test_a_targets_rank_is_its_place_and_the_last_one_if_it_was_not_generated() -> None:
    """Lists of three among nine items; the second list is short, the third lacks its target."""
    rows = rows_of([[1], [1], [1]], [4, 5, 6], 9)
    found = rank_generated(rows, slice(0, 3), np.array([[7, 8, 4], [5, 0, 0], [7, 8, 9]]))
    assert found.unmasked.tolist() == [3, 1, 9]
    assert found.seen_before.tolist() == [0, 0, 0]


def test_items_of_the_history_before_the_target_are_counted() -> None:
    """Two of them before it, one behind it; the target itself is none; a target without a place stays last."""
    rows = rows_of([[7, 8, 2, 7], [4, 7], [7, 8]], [4, 4, 6], 9)
    found = rank_generated(rows, slice(0, 3), np.array([[7, 8, 4, 2], [4, 7, 1, 2], [7, 8, 1, 2]]))
    assert found.seen_before.tolist() == [2, 0, 0]
    modes = found.by_mode(np.array([False, True, False]), 9, 5)
    assert modes["unmasked"].tolist() == [3, 1, 9]
    assert modes["keep_target"].tolist() == [1, 1, 9]
    assert modes["strict"].tolist() == [1, 10, 9]


def test_a_part_has_its_own_histories() -> None:
    rows = rows_of([[7], [8]], [4, 4], 9)
    assert rank_generated(rows, slice(1, 2), np.array([[7, 8, 4]])).seen_before.tolist() == [1]
