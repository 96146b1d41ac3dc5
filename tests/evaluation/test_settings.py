"""What an evaluation cannot be asked for."""

import pytest

KEYS = pytest.mark.parametrize("key", ["eval_history", "valid_history"])


@KEYS
def test_unknown_mode_is_refused(make_config, key):
    with pytest.raises(ValueError, match=rf"{key} \[mask\] is not one of unmasked, keep_tar"):
        make_config("SASRec", **{key: "mask"})


def test_one_mode_chooses_the_epoch(make_config):
    with pytest.raises(ValueError, match=r"valid_history \[all\] is not one of unmasked, keep_target, strict$"):
        make_config("SASRec", valid_history="all")


@KEYS
def test_masking_needs_the_rank_among_all_items(make_config, key):
    settings = {"eval_args": {"mode": {"valid": "full", "test": "uni5"}}}
    make_config("SASRec", **settings)
    with pytest.raises(ValueError, match=rf"{key} \[strict\] needs the rank among all items, and .*uni5"):
        make_config("SASRec", **settings, **{key: "strict"})


@KEYS
def test_masking_needs_a_valid_metric_of_ranks(make_config, key):
    settings = {"metrics": ["Hit", "ItemCoverage"], "valid_metric": "ItemCoverage@10"}
    make_config("SASRec", **settings, eval_history="all")
    with pytest.raises(ValueError, match=rf"{key} \[strict\] has no figure of valid_metric \[ItemCoverage@10\]"):
        make_config("SASRec", **settings, **{key: "strict"})
