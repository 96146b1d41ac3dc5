"""The three history modes by hand, and what is refused before anything is trained."""

import numpy as np

from recbole_tslrec.evaluation.history_modes import Ranks, shown_modes


def test_ranks_of_a_row_in_each_mode():
    """Ten items. The first target is new, with two seen items before it; the second was seen before, as one other."""
    ranks = Ranks(np.array([5, 4]), np.array([2, 1])).by_mode(np.array([False, True]), 10, 5)
    found = {mode: of_mode.tolist() for mode, of_mode in ranks.items()}
    assert found == {"unmasked": [5, 4], "keep_target": [3, 3], "strict": [3, 11]}


def test_a_masked_target_is_in_no_list_however_few_items_there_are():
    ranks = Ranks(np.array([2]), np.array([1])).by_mode(np.array([True]), 6, 10)
    assert ranks["strict"].tolist() == [11]


def test_ranks_of_no_rows():
    assert [len(of_mode) for of_mode in Ranks.joined([]).by_mode(np.zeros(0, bool), 10, 5).values()] == [0, 0, 0]


def test_all_shows_three_modes_and_the_flat_figures_are_unmasked():
    assert shown_modes("all") == ("unmasked", "keep_target", "strict")
    assert shown_modes("strict") == ("strict",)
