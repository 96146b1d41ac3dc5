"""The tables and plots of an ablation, from outcomes made by hand."""

from dataclasses import replace

import pytest

from recbole_tslrec.experiments.trials import Trial
from recbole_tslrec.report.ablation import axis_figure, axis_table


@pytest.fixture
def measured(make_evaluated):
    """Base and two values of K, seeds 1 and 2, by the mean ndcg@10 of each run."""

    def outcome(value, row, seed, mean):
        made = make_evaluated(Trial(f"toy {value}", "SASRec", row, seed), [5, 6], [1, 2], [mean - 0.1, mean + 0.1])
        return replace(made, trial=replace(made.trial, dataset="toy"))  # the fixture keeps one folder a trial

    runs = {"Base": ("Base", [0.1, 0.3]), "8": ("TSLRec", [0.2, 0.2]), "16": ("TSLRec", [0.4, 0.6])}
    return {
        value: [outcome(value, row, seed, mean) for seed, mean in enumerate(means, 1)]
        for value, (row, means) in runs.items()
    }


def test_a_value_has_a_row_with_mean_and_deviation(measured):
    table = axis_table("group_count", measured, "strict", "ndcg@10").set_index("group_count")
    assert list(table.index) == ["", "8", "16"]
    assert list(table["model"]) == ["SASRec Base", "SASRec TSLRec", "SASRec TSLRec"]
    assert table.loc["16", "NDCG@10"] == pytest.approx(0.5)
    assert table.loc["16", "NDCG@10 deviation"] == pytest.approx(0.2 / 2**0.5)
    assert table.loc["16", "valid NDCG@10"] == pytest.approx(0.5)
    assert table.loc["16", "seeds"] == 2


def test_a_value_without_a_finished_run_has_no_row(measured):
    table = axis_table("group_count", {**measured, "8": []}, "strict", "ndcg@10")
    assert list(table["group_count"]) == ["", "16"]


def test_the_plot_has_a_point_for_each_value_and_a_line_for_base(measured):
    (axes,) = axis_figure("group_count", measured, "strict", "ndcg@10").axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["8", "16"]
    assert {text.get_text() for text in axes.get_legend().get_texts()} == {"SASRec Base", "SASRec TSLRec"}
    base = next(line for line in axes.lines if line.get_label() == "SASRec Base")
    assert base.get_ydata()[0] == pytest.approx(0.2)
