"""The three history modes by hand, and what is refused before anything is trained."""

import numpy as np
import pytest

from recbole_tslrec.evaluation.history_modes import Ranks, check_eval_history, shown_modes
from recbole_tslrec.pipeline import run_stages


def test_ranks_of_a_row_in_each_mode():
    """Ten items. The first target is new, with two seen items before it; the second was seen before, as one other."""
    ranks = Ranks(np.array([5, 4]), np.array([2, 1])).by_mode(np.array([False, True]), 10)
    found = {mode: of_mode.tolist() for mode, of_mode in ranks.items()}
    assert found == {"unmasked": [5, 4], "keep_target": [3, 3], "strict": [3, 11]}


def test_ranks_of_no_rows():
    assert [len(of_mode) for of_mode in Ranks.joined([]).by_mode(np.zeros(0, bool), 10).values()] == [0, 0, 0]


def test_all_shows_three_modes_and_the_flat_figures_are_unmasked():
    assert shown_modes("all") == ("unmasked", "keep_target", "strict")
    assert shown_modes("strict") == ("strict",)


def test_unknown_mode_is_refused_before_anything_is_trained(make_config, tmp_path):
    with pytest.raises(ValueError, match=r"eval_history \[mask\] does not exist; it is one of unmasked, keep_tar"):
        run_stages(make_config("SASRec", eval_history="mask"))
    assert not (tmp_path / "artifacts").exists()


def test_masking_needs_the_rank_among_all_items(make_config):
    settings = {"eval_args": {"mode": {"valid": "full", "test": "uni5"}}}
    check_eval_history(make_config("SASRec", **settings))
    with pytest.raises(ValueError, match=r"eval_history \[all\] needs the rank among all items, and .*uni5"):
        check_eval_history(make_config("SASRec", **settings, eval_history="all"))


def test_masking_needs_a_valid_metric_of_ranks(make_config):
    settings = {"metrics": ["Hit", "ItemCoverage"], "valid_metric": "ItemCoverage@10"}
    check_eval_history(make_config("SASRec", **settings, eval_history="all"))
    with pytest.raises(ValueError, match=r"\[strict\] has no figure of valid_metric \[ItemCoverage@10\]"):
        check_eval_history(make_config("SASRec", **settings, eval_history="strict"))
