"""The pictures of table2 say what its tables say."""

import pandas as pd

from recbole_tslrec.report.table2_pictures import dot_panel, forest_panels, opening


def figures(*rows):
    columns = ["dataset", "backbone", "row", "metric", "seeds", "mean", "deviation", "paper"]
    return pd.DataFrame([("toy", *row) for row in rows], columns=columns)


def differences(*rows):
    columns = ["backbone", "against", "difference", "low", "high", "seeds p Holm"]
    return pd.DataFrame(rows, columns=columns).assign(dataset="toy")


FIGURES = figures(
    ("", "popularity", "HR@10", 1, 0.1, None, None),
    ("SASRec", "Base", "HR@10", 3, 0.4, 0.1, 0.35),
    ("SASRec", "CI", "HR@10", 0, float("nan"), None, 0.3),
    ("SASRec", "TSLRec", "HR@10", 3, 0.6, 0.1, 0.7),
)
TESTS = differences(
    ("SASRec", "Base", 0.2, 0.1, 0.3, 0.01),
    ("SASRec", "CI", 0.1, 0.05, 0.15, 0.2),
    ("GRU4Rec", "Base", -0.1, -0.2, -0.05, 0.03),
    ("GRU4Rec", "CI", 0.1, None, None, None),
)
NONE = TESTS[:0]


def test_a_dot_reaches_one_deviation_each_way_and_the_best_is_bold():
    popularity, base, _, ours = dot_panel("HR@10", FIGURES, with_paper=True).dots
    assert (popularity.low, popularity.high, popularity.paper) == (None, None, None)
    assert (base.low, base.value, base.high) == (0.4 - 0.1, 0.4, 0.5)
    assert (base.paper, ours.paper) == (0.35, 0.7)
    assert [dot.best for dot in (popularity, base, ours)] == [False, False, True]
    assert base.about == "SASRec Base, HR@10: 0.4000 ± 0.1000 over 3 seeds; paper 0.3500"
    assert popularity.about == "popularity, HR@10: 0.1000 of one seed"


def test_a_row_without_a_finished_run_is_not_drawn():
    html = opening(FIGURES, {}, NONE, "NDCG@10", "unmasked").pictures
    assert 'class="label">Base<' in html
    assert 'class="label">CI<' not in html


def test_the_papers_values_stand_in_the_papers_mode_alone():
    assert 'class="paper"' in opening(FIGURES, {}, NONE, "NDCG@10", "unmasked").pictures
    assert "paper" not in opening(FIGURES, {}, NONE, "NDCG@10", "strict").pictures


def test_differences_are_marked_where_the_seeds_are_certain_of_them():
    sasrec, gru4rec = forest_panels(TESTS, "against")
    assert [dot.kind for dot in (*sasrec.dots, *gru4rec.dots)] == ["gain", "", "loss", ""]
    assert [dot.text for dot in gru4rec.dots] == ["−0.1000", "+0.1000"]  # noqa: RUF001
    assert [(dot.low, dot.high) for dot in gru4rec.dots] == [(-0.2, -0.05), (None, None)]
    assert sasrec.dots[1].about == "+0.1000; +0.0500 to +0.1500; p 0.2000 over seeds (Holm)"
    assert gru4rec.dots[1].about == "+0.1000; no test over seeds"


def test_backbones_of_a_dataset_share_an_axis_with_no_difference_on_it():
    sasrec, gru4rec = forest_panels(TESTS, "against")
    assert sasrec.axis == gru4rec.axis
    assert 0 in sasrec.axis.ticks
    (alone,) = forest_panels(TESTS[:2], "against")
    assert 0 in alone.axis.ticks


def test_each_subject_has_a_forest_plot_and_none_without_others():
    html = opening(FIGURES, {"TSLRec": TESTS, "untuned": NONE}, NONE, "NDCG@10", "strict").pictures
    assert "toy: TSLRec less each other row, NDCG@10" in html
    assert "untuned" not in html


def test_rows_over_base_have_a_forest_plot_that_names_them():
    html = opening(FIGURES, {}, TESTS[:1].assign(row="tfidf", against="Base"), "NDCG@10", "strict").pictures
    assert "toy: each row less Base, NDCG@10" in html
    assert 'class="label">tfidf<' in html
