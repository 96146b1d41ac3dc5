"""What an evaluation cannot be asked for."""

import pytest


def test_unknown_mode_is_refused(make_config):
    with pytest.raises(ValueError, match=r"eval_history \[mask\] is not one of unmasked, keep_tar"):
        make_config("SASRec", eval_history="mask")


def test_masking_needs_the_rank_among_all_items(make_config):
    settings = {"eval_args": {"mode": {"valid": "full", "test": "uni5"}}}
    make_config("SASRec", **settings)
    with pytest.raises(ValueError, match=r"eval_history \[all\] needs the rank among all items, and .*uni5"):
        make_config("SASRec", **settings, eval_history="all")


def test_masking_needs_a_valid_metric_of_ranks(make_config):
    settings = {"metrics": ["Hit", "ItemCoverage"], "valid_metric": "ItemCoverage@10"}
    make_config("SASRec", **settings, eval_history="all")
    with pytest.raises(ValueError, match=r"\[strict\] has no figure of valid_metric \[ItemCoverage@10\]"):
        make_config("SASRec", **settings, eval_history="strict")
