"""Table 2 from outcomes made by hand: three users, ndcg@10 of each."""

from dataclasses import replace

import pytest

from recbole_tslrec.evaluation.metrics import smaller_is_better
from recbole_tslrec.experiments.trials import Trial
from recbole_tslrec.report.comparisons import comparisons, credit, stars
from recbole_tslrec.report.page import ReportError, best_and_second
from recbole_tslrec.report.scores import Line, Scores
from recbole_tslrec.report.table2 import figures, figures_section, lines_of, page_of, table_section
from tests.conftest import write_dataset

SEEDS = (1, 2, 3)
BASE, OURS = Line("SASRec", "Base"), Line("SASRec", "TSLRec")


@pytest.fixture
def outcomes(make_evaluated):
    """``outcomes({row: means})``: each row with the seeds 1, 2, ..., its three users around the mean of the seed."""

    def make(rows, backbone="SASRec", dataset="toy"):
        return [
            make_evaluated(Trial(dataset, backbone, row, seed), [5, 6, 7], [1, 2, 3], [mean - 0.05, mean, mean + 0.05])
            for row, means in rows.items()
            for seed, mean in enumerate(means, 1)
        ]

    return make


@pytest.fixture
def command(toy_command):
    return replace(toy_command, seeds=SEEDS, rows=("Base", "CI", "TSLRec"))


def cells(section, row):
    return section.table.set_index("row").loc[row]


def test_a_cell_is_mean_and_deviation_over_the_seeds(command, outcomes):
    found = outcomes({"Base": [0.1, 0.2, 0.3], "CI": [0.1, 0.1, 0.1], "TSLRec": [0.2, 0.2, 0.2]})
    table = table_section(command, Scores.of(found, "strict"), [])
    assert cells(table, "SASRec Base")["toy NDCG@10"] == "0.2000 ± 0.1000"
    assert "strict" in table.title
    assert "strict" in table.text


def test_a_star_needs_a_gain_over_the_best_other_row_that_is_more_than_seed_noise(command, outcomes):
    clear = outcomes({"Base": [0.10, 0.11, 0.12], "TSLRec": [0.50, 0.51, 0.52]})
    assert cells(table_section(command, Scores.of(clear, "unmasked"), []), "SASRec TSLRec")["toy NDCG@10"].endswith("*")


@pytest.mark.parametrize(
    "rows",
    [
        {"Base": [0.1, 0.3, 0.5], "TSLRec": [0.2, 0.4, 0.6]},  # a gain within the noise
        {"Base": [0.10, 0.11, 0.12], "CI": [0.50, 0.51, 0.52], "TSLRec": [0.50, 0.51, 0.53]},  # CI is as good
        {"Base": [0.50, 0.51, 0.52], "TSLRec": [0.10, 0.11, 0.12]},  # certain, but worse
        {"Base": [0.1], "TSLRec": [0.9]},  # one seed
    ],
)
def test_there_is_no_star_otherwise(command, outcomes, rows):
    section = table_section(command, Scores.of(outcomes(rows), "unmasked"), [])
    assert not section.table["toy NDCG@10"].str.endswith("*").any()


def test_holm_takes_a_star_back_that_one_test_alone_would_give(command, outcomes):
    # Welch's p of both differences is .037: below .05 alone, .074 as one of two
    rows = {"Base": [0.10, 0.11, 0.12], "TSLRec": [0.125, 0.135, 0.145]}
    alone = outcomes(rows)
    assert stars(Scores.of(alone, "unmasked"), "toy", [OURS], "ndcg@10") == {OURS}
    both = Scores.of([*alone, *outcomes(rows, backbone="GRU4Rec")], "unmasked")
    assert stars(both, "toy", [OURS, Line("GRU4Rec", "TSLRec")], "ndcg@10") == set()


def test_one_seed_says_why_there_is_no_star(command, outcomes):
    section = table_section(replace(command, seeds=(1,)), Scores.of(outcomes({"Base": [0.1]}), "unmasked"), [])
    assert "one seed" in section.note


def test_best_and_second_are_marked_as_they_are_shown():
    assert best_and_second([0.2319, 0.2887], smaller_is_better("GiniIndex@10")) == {0: "best", 1: "second"}
    assert best_and_second([0.12341, 0.5, float("nan"), 0.12344]) == {1: "best", 0: "second", 3: "second"}


def test_rows_without_a_run_are_empty_and_say_so(command, outcomes):
    rows = ("POD", "popularity", "Base", "TSLRec")
    found = [*outcomes({"Base": [0.1, 0.2, 0.3]}), *outcomes({"popularity": [0.05]}, backbone="")]
    table = table_section(replace(command, rows=rows), Scores.of(found, "unmasked"), [])
    assert cells(table, "POD")["toy NDCG@10"] is None
    assert cells(table, "POD")["remark"] == "no run has finished"
    assert cells(table, "popularity")["toy NDCG@10"] == "0.0500"
    assert cells(table, "SASRec TSLRec")["remark"] == "no run has finished"


def test_the_lines_are_in_the_order_of_the_paper(command):
    command = replace(command, models=("GRU4Rec", "SASRec"), rows=("POD", "popularity", "Base", "TSLRec"))
    names = ["POD", "popularity", "GRU4Rec Base", "GRU4Rec TSLRec", "SASRec Base", "SASRec TSLRec"]
    assert [str(line) for line in lines_of(command)] == names


def test_the_papers_figure_stands_beside_ours_on_request(command, outcomes):
    command = replace(command, datasets=("beauty",), paper=True)
    found = outcomes({"Base": [0.1]}, dataset="beauty")
    table = table_section(command, Scores.of(found, "unmasked"), [])
    assert cells(table, "SASRec Base")["beauty NDCG@10, paper"] == 0.0424
    masked = table_section(command, Scores.of(found, "keep_target"), [])
    assert "beauty NDCG@10, paper" not in cells(masked, "SASRec Base")
    assert figures(command, Scores.of(found, "unmasked"))["paper"].notna().any()
    assert figures(command, Scores.of(found, "keep_target"))["paper"].isna().all()


def test_every_figure_has_a_row_of_numbers(command, outcomes):
    found = outcomes({"Base": [0.1, 0.2, 0.3]})
    table = figures(command, Scores.of(found, "unmasked")).set_index(["row", "metric"])
    assert table.loc[("Base", "NDCG@10"), "mean"] == pytest.approx(0.2)
    assert table.loc[("Base", "NDCG@10"), "deviation"] == pytest.approx(0.1)
    assert table.loc[("Base", "HR@10"), "seeds"] == 3
    assert table.loc[("CI", "HR@10"), "seeds"] == 0


def test_the_page_leaves_out_the_figures_of_what_has_not_run(command, outcomes):
    table = figures(command, Scores.of(outcomes({"Base": [0.1]}), "unmasked"))
    section = figures_section(table, "unmasked")
    assert [table["row"][row] for row in section.empty_rows] == ["CI", "CI", "TSLRec", "TSLRec"]


def test_users_are_compared_by_their_means_over_the_common_seeds(outcomes):
    # the seeds 1 and 2 are common: every user gains .2 and .4, so .3 in the mean, without any spread
    found = outcomes({"Base": [0.1, 0.1], "TSLRec": [0.3, 0.5, 0.9]})
    test = comparisons(Scores.of(found, "keep_target"), "ndcg@10").iloc[0]
    assert test["against"] == "Base"
    assert test["low"] == pytest.approx(0.3)
    assert test["high"] == pytest.approx(0.3)
    assert test["difference"] == pytest.approx((0.3 + 0.5 + 0.9) / 3 - 0.1)


LOW, MIDDLE, HIGH = [0.10, 0.11, 0.12], [0.30, 0.31, 0.32], [0.50, 0.51, 0.52]
WITHOUT_LLM = {"stage0": LOW, "co_interaction": LOW, "co_occurrence": LOW}


@pytest.mark.parametrize(
    ("rows", "verdict"),
    [
        ({**WITHOUT_LLM, "TSLRec": HIGH}, "the row untuned would show whether also to Stage 1"),
        ({**WITHOUT_LLM, "untuned": HIGH, "TSLRec": HIGH}, "LLM (stage0 +0.4000, p 0.000; "),
        ({**WITHOUT_LLM, "untuned": HIGH, "TSLRec": HIGH}, "but not to Stage 1: the "),
        ({**WITHOUT_LLM, "untuned": MIDDLE, "TSLRec": HIGH}, "and to Stage 1, since the untuned one"),
        ({**WITHOUT_LLM, "co_interaction": HIGH, "TSLRec": MIDDLE}, "does not beat the co-interaction row, so no LLM"),
        ({**WITHOUT_LLM, "co_occurrence": HIGH, "TSLRec": MIDDLE}, "does not beat the co-occurrence row, so no LLM"),
        ({**WITHOUT_LLM, "stage0": HIGH, "TSLRec": MIDDLE}, "does not beat the stage-0 vectors, so no LLM"),
        (
            {**WITHOUT_LLM, "stage0": HIGH, "co_interaction": HIGH, "TSLRec": MIDDLE},
            "vectors and the co-interaction row, so",
        ),
        ({"stage0": LOW, "TSLRec": HIGH}, "since the rows co_interaction, co_occurrence are missing"),
        ({**dict.fromkeys(WITHOUT_LLM, LOW[:1]), "TSLRec": HIGH[:1]}, "no test over seeds"),
    ],
)
def test_a_gain_is_credited_only_beyond_the_rows_without_an_llm_or_without_stage_1(outcomes, rows, verdict):
    (sentence,) = credit(comparisons(Scores.of(outcomes(rows), "unmasked"), "ndcg@10"))
    assert sentence.startswith("toy, SASRec: ")
    assert verdict in sentence


@pytest.mark.parametrize(
    ("tfidf", "verdict"),
    [
        ([], "since the rows tfidf are missing"),
        (HIGH, "does not beat the words' TF-IDF, so no LLM is credited"),
        (
            LOW,
            "beats the stage-0 vectors, the co-interaction row, the co-occurrence row and the words' TF-IDF: the",
        ),
    ],
)
def test_an_llm_that_reads_words_has_to_beat_what_they_say_without_it(outcomes, tfidf, verdict):
    rows = {**WITHOUT_LLM, "tfidf": tfidf, "TSLRec": HIGH}
    (sentence,) = credit(comparisons(Scores.of(outcomes(rows), "unmasked"), "ndcg@10"), words=True)
    assert verdict in sentence


def test_an_untuned_llm_that_gains_is_tested_and_credited_too(command, outcomes, tmp_path):
    write_dataset(tmp_path / "data", "toy", [])
    rows = {**WITHOUT_LLM, "untuned": HIGH, "TSLRec": MIDDLE}
    section, ours, untuned, _ = page_of(outcomes(rows), replace(command, rows=tuple(rows))).sections
    beaten = "untuned beats the stage-0 vectors, the co-interaction row and the co-occurrence row: the gain is credited"
    assert beaten in section.text
    assert "p 0.000), without Stage 1." in section.text
    assert (ours.title, untuned.title) == ("Table 2, unmasked: tests", "Table 2, unmasked: tests of untuned")
    assert list(untuned.table["against"]) == [*WITHOUT_LLM, "TSLRec"]
    assert untuned.table["difference"].tolist() == pytest.approx([0.4, 0.4, 0.4, 0.2])


def test_every_row_is_tested_against_base(command, outcomes, tmp_path):
    write_dataset(tmp_path / "data", "toy", [])
    rows = {"Base": LOW, "tfidf": HIGH, "co_occurrence": MIDDLE}
    found = [*outcomes(rows), *outcomes({"popularity": [0.05]}, backbone="")]
    section, tests, _ = page_of(found, replace(command, rows=("popularity", *rows))).sections
    assert tests.title == "Table 2, unmasked: tests against Base"
    assert tests.table["row"].tolist() == ["tfidf", "co_occurrence"]
    assert tests.table["difference"].tolist() == pytest.approx([0.4, 0.2])
    assert (tests.table["seeds p Holm"] < 0.001).all()
    assert "TSLRec" not in section.note  # nothing is starred where it is no row


def test_runs_on_different_data_are_refused_by_name(command, make_evaluated):
    trials = [Trial("toy", "SASRec", row, 1) for row in ("Base", "TSLRec")]
    found = [make_evaluated(trial, [5], [1], [0.5], fingerprint=trial.row) for trial in trials]
    with pytest.raises(ValueError, match=r"\[Base of SASRec on toy.*\[TSLRec of TSLRecSASRec on toy.*fingerprint"):
        Scores.of(found, "unmasked").check_comparable()


def test_all_modes_give_a_table_each(command, outcomes, tmp_path):
    write_dataset(tmp_path / "data", "toy", [])
    command = replace(command, settings=(*command.settings, "--eval_history=all"))
    page = page_of(outcomes({"Base": [0.1, 0.2, 0.3]}), command)
    assert [section.title for section in page.sections][::2] == [
        "Table 2, unmasked",
        "Table 2, keep_target",
        "Table 2, strict",
    ]
    modes = [opening.title.rpartition(" ")[2] for opening in page.openings]
    assert modes == ["unmasked", "keep_target", "strict"]


def test_without_any_finished_run_there_is_no_table(command):
    with pytest.raises(ReportError, match="no run has finished"):
        page_of([], command)


def test_scratch_is_no_baseline_of_a_model_whose_llm_is_scratch(command, outcomes):
    ours = outcomes({"TSLRec": [0.1, 0.2]})
    same = [replace(one, trial=replace(one.trial, row="scratch")) for one in ours]
    scores = Scores.of([*ours, *same], "unmasked")
    assert scores.others("toy", OURS) == []
    table = table_section(replace(command, rows=("scratch", "TSLRec")), scores, [])
    assert list(table.table["remark"]) == ["the same runs as TSLRec", ""]
