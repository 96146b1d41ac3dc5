"""Fig. 5: groups of users, and means in them, counted by hand."""

from dataclasses import replace

import numpy as np
import pytest

from recbole_tslrec.experiments.trials import Outcome, Trial
from recbole_tslrec.report import fig5
from recbole_tslrec.report.fig5 import by_activity, by_popularity
from recbole_tslrec.report.page import ReportError
from recbole_tslrec.settings import ConfigError
from recbole_tslrec.store.artifacts import ArtifactError
from tests.results import stages_of

LENGTHS, POPULARITY = [3, 3, 8, 9], [0, 5, 40, 50]


@pytest.fixture
def build(monkeypatch, toy_command):
    """``build(outcomes, **changes of the command)``: the page of these outcomes."""

    def build_page(found, **changes):
        monkeypatch.setattr(fig5, "outcomes", lambda trials, command: found)
        return fig5.build(replace(toy_command, **changes))

    return build_page


@pytest.fixture
def evaluated(make_evaluated):
    """``evaluated(row, seed, ndcg of four users, ...)``: their outcome."""

    def make(row, seed, ndcg, **changes):
        return make_evaluated(Trial("toy", "SASRec", row, seed), LENGTHS, POPULARITY, ndcg, **changes)

    return make


def test_users_are_cut_into_equal_parts_by_length():
    groups = by_activity(np.array([9, 1, 3, 2, 4, 5, 6, 7, 8, 10]))
    assert groups.labels == ["1-2", "3-4", "5-6", "7-8", "9-10"]
    assert groups.members.tolist() == [4, 0, 1, 0, 1, 2, 2, 3, 3, 4]


def test_users_of_one_length_stay_together_also_where_they_fill_several_parts():
    groups = by_activity(np.array([3] * 7 + [4, 5, 9]))
    assert groups.labels == ["3", "4", "5-9"]
    assert np.bincount(groups.members).tolist() == [7, 1, 2]


def test_targets_are_cut_at_3_10_and_30():
    groups = by_popularity(np.array([0, 3, 4, 10, 11, 30, 31, 99]))
    assert groups.labels == ["0-3", "4-10", "11-30", ">30"]
    assert groups.members.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


def test_a_bin_of_popularity_without_users_is_left_out():
    groups = by_popularity(np.array([31, 2]))
    assert groups.labels == ["0-3", ">30"]
    assert groups.members.tolist() == [1, 0]


@pytest.mark.parametrize("settings", ["--topk=[5]", "--metrics=['Recall', 'NDCG']"])
def test_metrics_that_it_shows_are_asked_for_before_anything_runs(toy_command, settings):
    with pytest.raises(ConfigError, match=r"fig5 shows NDCG@10 and HR@10, which metrics .* do not have"):
        fig5.build(replace(toy_command, settings=(*toy_command.settings, settings, "--valid_metric=NDCG@5")))


def test_means_are_over_seeds_first_and_then_over_the_users_of_a_group(build, evaluated):
    found = [evaluated("Base", 1, [0.0, 0.2, 0.5, 0.5]), evaluated("Base", 2, [0.4, 0.2, 0.7, 0.7])]
    [section] = build(found, seeds=(1, 2), rows=("Base",)).sections
    table = section.table.set_index(["by", "group"])
    assert table.loc[("sequence length", "3"), "users"] == 2
    assert table.loc[("sequence length", "3"), "NDCG@10"] == pytest.approx((0.2 + 0.2) / 2)
    assert table.loc[("sequence length", "3"), "HR@10"] == pytest.approx((0.5 + 1) / 2)
    assert table.loc[("target popularity", ">30"), "NDCG@10"] == pytest.approx(0.6)


def test_an_interval_holds_the_mean_and_no_value_beyond_the_users(build, evaluated):
    [section] = build([evaluated("Base", 1, [0.1, 0.3, 0.5, 0.5])], rows=("Base",)).sections
    first = section.table.iloc[0]
    assert first["NDCG@10 low"] == pytest.approx(0.1)  # of two users: a quarter of the draws is the lower one twice
    assert first["NDCG@10 high"] == pytest.approx(0.3)


def test_the_best_row_of_each_group_is_marked(build, evaluated):
    found = [evaluated("Base", 1, [0.1, 0.1, 0.0, 0.9]), evaluated("TSLRec", 1, [0.2, 0.2, 0.0, 0.2])]
    [section] = build(found).sections
    best = {
        (section.table["group"][row], section.table["row"][row])
        for (row, metric), mark in section.emphasis.items()
        if mark == "best" and metric == "NDCG@10" and section.table["by"][row] == "target popularity"
    }
    assert best == {("0-3", "TSLRec"), ("4-10", "TSLRec"), (">30", "Base")}


def test_a_group_without_a_hit_has_no_best_row(build, evaluated):
    [section] = build([evaluated("Base", 1, [0.0] * 4), evaluated("TSLRec", 1, [0.0] * 4)]).sections
    assert not section.emphasis


def test_a_page_names_its_mode_and_all_gives_one_section_for_each(build, evaluated, toy_command):
    found = [evaluated("Base", 1, [0.1] * 4)]
    [section] = build(found).sections
    assert section.title == "toy SASRec unmasked"
    every = build(found, settings=(*toy_command.settings, "--eval_history=all")).sections
    assert [each.title.split()[-1] for each in every] == ["unmasked", "keep_target", "strict"]
    assert all(each.figure.get_suptitle().endswith(each.title.split()[-1]) for each in every)


def test_only_seeds_that_all_rows_have_are_compared(build, evaluated):
    found = [evaluated("Base", 1, [0.1] * 4), evaluated("Base", 2, [0.9] * 4), evaluated("TSLRec", 1, [0.2] * 4)]
    [section] = build(found, seeds=(1, 2)).sections
    assert section.table["NDCG@10"].max() == pytest.approx(0.2)
    assert "over seeds (1)" in section.text


def test_rows_without_a_finished_run_are_named(build, evaluated):
    [section] = build([evaluated("Base", 1, [0.1] * 4)]).sections
    assert "No run has finished of CI, TSLRec." in section.note


def test_rows_without_a_common_seed_are_refused(build, evaluated):
    with pytest.raises(ReportError, match="no seed of SASRec on toy was finished by all of Base, TSLRec"):
        build([evaluated("Base", 1, [0.1] * 4), evaluated("TSLRec", 2, [0.1] * 4)], seeds=(1, 2))


def test_runs_on_other_data_are_refused(build, evaluated):
    found = [evaluated("Base", 1, [0.1] * 4), evaluated("TSLRec", 1, [0.1] * 4, fingerprint="other")]
    with pytest.raises(ValueError, match="fingerprint"):
        build(found)


def test_a_run_without_results_by_user_is_named(build, tmp_path):
    (tmp_path / "old").mkdir()
    stages = stages_of({"evaluation of Base": str(tmp_path / "old")})
    old = Outcome(Trial("toy", "SASRec", "Base", 1), {"stages": stages})
    with pytest.raises(ArtifactError, match="old has no results by user"):
        build([old])


def test_results_without_the_metric_are_named(build, evaluated, monkeypatch):
    monkeypatch.setattr(fig5, "METRICS", ("ndcg@20",))
    with pytest.raises(ReportError, match="has no ndcg@20_unmasked"):
        build([evaluated("Base", 1, [0.1] * 4)])
