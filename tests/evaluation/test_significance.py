"""Tests of significance against answers by hand and scipy."""

import numpy as np
import pytest
from scipy import stats

from recbole_tslrec.evaluation import significance
from recbole_tslrec.evaluation.significance import holm, interval, paired, two_sample


def test_paired_t_test_by_hand():
    """Differences 1, 2, 3: mean 2, deviation 1, t = 2 sqrt(3) with two degrees of freedom."""
    found = paired([2, 4, 6], [1, 2, 3])
    t = 2 * np.sqrt(3)
    assert found.mean_difference == 2
    assert found.t_pvalue == pytest.approx(1 - t / np.sqrt(t**2 + 2))  # Student's distribution for two degrees


def test_wilcoxon_by_hand():
    """Five positive differences without ties: all of the 32 signs are equally likely, two are as extreme."""
    assert paired([1, 2, 3, 4, 5], np.zeros(5)).wilcoxon_pvalue == pytest.approx(2 / 32)


def test_users_without_a_difference_do_not_change_wilcoxon():
    few, many = (paired([0.5, 0.25, -0.125, 1.0, *zeros], [0.0] * (4 + len(zeros))) for zeros in ([], [0.0] * 3))
    assert many.wilcoxon_pvalue == pytest.approx(few.wilcoxon_pvalue)


def test_rows_that_agree_everywhere_do_not_differ():
    found = paired([0.1, 0.2], [0.1, 0.2])
    assert (found.mean_difference, found.t_pvalue, found.wilcoxon_pvalue) == (0, 1, 1)
    assert (found.low, found.high) == (0, 0)


def test_the_same_difference_for_all_users_is_certain():
    found = paired(np.full(9, 0.5), np.zeros(9))
    assert (found.t_pvalue, found.low, found.high) == (0, 0.5, 0.5)


@pytest.mark.parametrize("b", [[1.0], [1.0, 2.0, 3.0]])
def test_paired_test_needs_the_same_users(b):
    with pytest.raises(ValueError, match=f"the same users twice, and two at least; got 1 and {len(b)}"):
        paired([1.0], b)


def test_welch_over_seeds():
    a, b = [0.041, 0.043, 0.042], [0.040, 0.036, 0.038, 0.037]
    found = two_sample(a, b)
    assert found.mean_difference == pytest.approx(0.042 - 0.03775)
    variances = np.var(a, ddof=1) / 3, np.var(b, ddof=1) / 4
    degrees = sum(variances) ** 2 / (variances[0] ** 2 / 2 + variances[1] ** 2 / 3)
    expected = 2 * stats.t.sf(found.mean_difference / np.sqrt(sum(variances)), degrees)
    assert found.pvalue == pytest.approx(expected)
    assert found.reason is None


def test_one_seed_gives_a_reason_in_the_place_of_a_p_value():
    found = two_sample([0.05], [0.04, 0.03])
    assert found.mean_difference == pytest.approx(0.015)
    assert found.pvalue is None
    assert found.reason == "1 and 2 seeds: a test over seeds needs two of each row at least"


def test_rows_without_noise_give_a_reason():
    assert two_sample([0.05, 0.05], [0.04, 0.04]).reason.startswith("neither row differs between seeds")
    assert two_sample([0.05, 0.05], [0.04, 0.041]).pvalue is not None


def test_holm_by_hand():
    """Sorted .01 .03 .04: times 3, 2, 1, and never below the one before."""
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.7, 0.6]) == [1.0, 1.0]


def test_holm_leaves_missing_p_values_out_of_the_count():
    assert holm([None, 0.02, None, 0.5]) == [None, 0.04, None, 0.5]
    assert holm([]) == []


def test_interval_of_a_mean_is_that_of_scipy():
    values = np.random.default_rng(0).exponential(size=300)
    expected = stats.bootstrap((values,), np.mean, n_resamples=9999, method="percentile", random_state=1)
    assert interval(values) == pytest.approx(expected.confidence_interval, rel=0.01)


def test_interval_of_hits_is_that_of_a_binomial():
    """A thousand users, 200 hits: the mean of a draw is a binomial share; both ways of drawing give it."""
    hits = np.repeat([1.0, 0.0], [200, 800])
    expected = stats.binom(1000, 0.2).ppf([0.025, 0.975]) / 1000
    assert interval(hits) == pytest.approx(expected, abs=0.002)
    all_different = hits + np.linspace(0, 1e-9, 1000)
    assert interval(all_different) == pytest.approx(expected, abs=0.002)


def test_interval_depends_on_the_seed_alone(monkeypatch):
    values = np.random.default_rng(0).normal(size=200)
    assert interval(values, 3) == interval(values, 3) != interval(values, 4)
    whole = interval(values)
    monkeypatch.setattr(significance, "_NUMBERS", 200 * 7)
    assert interval(values) == whole


def test_interval_of_nobody_is_refused():
    with pytest.raises(ValueError, match="one user at least"):
        interval([])
