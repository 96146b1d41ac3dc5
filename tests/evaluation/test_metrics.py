"""Metrics from ranks, by hand."""

import math

import numpy as np
import pytest

from recbole_tslrec.evaluation.metrics import check_cut_offs, figures, figures_of_rows, needs_ranks_only
from recbole_tslrec.settings import ConfigError

RANKS = np.array([1, 3, 6, 11, 10**6])


def test_figures_are_means_over_the_rows(make_config):
    config = make_config("SASRec", topk=[5, 10], metric_decimal_place=12)
    found = figures(config, RANKS)
    gains = [1.0, 1 / math.log2(4), 1 / math.log2(7)]
    expected = {"hit@5": 2 / 5, "hit@10": 3 / 5, "ndcg@5": sum(gains[:2]) / 5, "ndcg@10": sum(gains) / 5}
    assert found == pytest.approx(expected, abs=1e-12)


def test_figures_of_rows_have_these_means(make_config):
    config = make_config("SASRec", metrics=["Hit", "NDCG", "MRR", "Recall", "MAP", "Precision"])
    rows = figures_of_rows(config, RANKS)
    assert rows["hit@5"].tolist() == [1, 1, 0, 0, 0]
    assert rows["mrr@10"].tolist() == pytest.approx([1, 1 / 3, 1 / 6, 0, 0])
    assert {name: values.mean() for name, values in rows.items()} == pytest.approx(figures(config, RANKS), abs=1e-4)


def test_no_rows_have_no_figures(make_config):
    config = make_config("SASRec")
    assert figures(config, RANKS[:0]) == {}
    assert [len(values) for values in figures_of_rows(config, RANKS[:0]).values()] == [0, 0, 0, 0]


def test_metrics_that_need_more_than_ranks_are_left_out(make_config):
    assert [needs_ranks_only(name) for name in ("NDCG", "ItemCoverage", "GAUC")] == [True, False, False]
    config = make_config("SASRec", metrics=["ItemCoverage", "Hit"], valid_metric="Hit@10")
    assert set(figures(config, RANKS)) == set(figures_of_rows(config, RANKS)) == {"hit@5", "hit@10"}


def test_lists_longer_than_all_items_are_refused_where_a_metric_needs_them(make_config):
    check_cut_offs(make_config("SASRec", topk=[10, 40]), 30)
    counting = make_config("SASRec", topk=[10, 40], metrics=["NDCG", "ItemCoverage"], valid_metric="NDCG@10")
    check_cut_offs(counting, 40)
    with pytest.raises(ConfigError, match=r"topk \[10, 40\] is above the 30 items .* metric \[ItemCoverage\]"):
        check_cut_offs(counting, 30)
