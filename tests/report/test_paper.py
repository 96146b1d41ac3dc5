"""The paper's Table 2 as data."""

import pytest

from recbole_tslrec.experiments.command import DATASETS, MODELS
from recbole_tslrec.models.families import LLM_BASELINES
from recbole_tslrec.report.paper import paper_figure

METRICS = ("hit@5", "hit@10", "ndcg@5", "ndcg@10")
LINES = [("", row) for row in LLM_BASELINES] + [(name, row) for name in MODELS for row in ("Base", "CI", "TSLRec")]


@pytest.mark.parametrize(
    ("cell", "figure"),
    [
        (("beauty", "", "POD", "hit@5"), 0.0185),
        (("ml-1m", "SASRec", "TSLRec", "ndcg@5"), 0.1670),
        (("yelp", "FMLPRec", "TSLRec", "ndcg@10"), 0.0451),
    ],
)
def test_a_figure_is_that_of_its_cell(cell, figure):
    assert paper_figure(*cell) == figure


def test_every_cell_of_the_paper_is_there_and_a_longer_list_never_scores_less():
    for dataset in DATASETS:
        for line in LINES:
            hit_5, hit_10, ndcg_5, ndcg_10 = (paper_figure(dataset, *line, metric) for metric in METRICS)
            assert 0 < ndcg_5 < hit_5 < hit_10
            assert ndcg_5 < ndcg_10 < hit_10


def test_what_the_paper_does_not_have_is_none():
    assert paper_figure("toy", "SASRec", "Base", "hit@5") is None
    assert paper_figure("beauty", "SASRec", "stage0", "hit@5") is None
