"""Whether a difference between two rows is more than chance: over users, and over seeds.

Users: both rows rank the same targets, so the tests are paired. They show how far the difference between *these two
trained models* carries over to other users, and nothing about other seeds. Seeds: the paper's two-sample t-test over
the figures of repeated runs. The noise between seeds is as large as most gains, so a claim needs the latter.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

DRAWS = 10_000  # of a bootstrap
_NUMBERS = 2**21  # drawn together


@dataclass(frozen=True)
class PairedTest:
    """The comparison of rows a and b over the same users.

    Attributes:
        mean_difference: the mean of a - b.
        t_pvalue: two-sided, of the paired t-test.
        wilcoxon_pvalue: two-sided, of Wilcoxon's signed-rank test, which leaves out users without a difference.
        low: the 2.5% end of the bootstrap interval of the mean difference.
        high: the 97.5% end.
    """

    mean_difference: float
    t_pvalue: float
    wilcoxon_pvalue: float
    low: float
    high: float


@dataclass(frozen=True)
class SeedTest:
    """The comparison of rows a and b over seeds.

    Attributes:
        mean_difference: the mean of the means, a - b.
        pvalue: two-sided, of Welch's two-sample t-test; ``None`` if it cannot be computed.
        reason: why it cannot be computed.
    """

    mean_difference: float
    pvalue: float | None
    reason: str | None = None


def paired(a: ArrayLike, b: ArrayLike, seed: int = 0) -> PairedTest:
    """Compare the figures of two rows user by user.

    Args:
        a: figures of one row, [U].
        b: figures of the other, of the same users in the same order, [U].
        seed: the seed of the bootstrap.

    Raises:
        ValueError: the numbers of users differ, or there are fewer than two.
    """
    of_a, of_b = _numbers(a), _numbers(b)
    if len(of_a) != len(of_b) or len(of_a) < 2:
        raise ValueError(f"a paired test needs the same users twice, and two at least; got {len(of_a)} and {len(of_b)}")
    difference = of_a - of_b
    low, high = interval(difference, seed)
    if not difference.any():
        return PairedTest(0.0, 1.0, 1.0, low, high)
    # with the same difference for all, t is infinite
    t_pvalue = float(stats.ttest_1samp(difference, 0.0).pvalue) if np.ptp(difference) else 0.0
    wilcoxon_pvalue = float(stats.wilcoxon(difference).pvalue)
    return PairedTest(float(difference.mean()), t_pvalue, wilcoxon_pvalue, low, high)


def two_sample(a: ArrayLike, b: ArrayLike) -> SeedTest:
    """Compare the figures of two rows over seeds, as the paper does; the variances may differ (Welch).

    Args:
        a: the figures of one row, one per seed.
        b: the figures of the other row; the seeds need not be the same.
    """
    of_a, of_b = _numbers(a), _numbers(b)
    difference = float(of_a.mean() - of_b.mean()) if len(of_a) and len(of_b) else float("nan")
    if min(len(of_a), len(of_b)) < 2:
        seeds = f"{len(of_a)} and {len(of_b)} seeds"
        return SeedTest(difference, None, f"{seeds}: a test over seeds needs two of each row at least")
    if not np.ptp(of_a) and not np.ptp(of_b):
        return SeedTest(difference, None, "neither row differs between seeds, so there is no noise to test against")
    moments = [moment for of in (of_a, of_b) for moment in (of.mean(), of.std(ddof=1), len(of))]
    # from moments, since scipy warns of samples without deviation, such as a row that has no seed
    return SeedTest(difference, float(stats.ttest_ind_from_stats(*moments, equal_var=False).pvalue))


def holm(pvalues: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down correction over the comparisons of a table; a missing p-value stays missing and is not counted.

    Args:
        pvalues: the p-values of the single tests.

    Returns:
        The adjusted p-values, in the same order. A difference is significant at the level .05 in the whole family where
        its value is at most .05.
    """
    adjusted: list[float | None] = list(pvalues)
    order = sorted((value, place) for place, value in enumerate(pvalues) if value is not None)
    highest = 0.0
    for rank, (value, place) in enumerate(order):
        highest = max(highest, min(1.0, value * (len(order) - rank)))  # never below a smaller p-value's
        adjusted[place] = highest
    return adjusted


def interval(values: ArrayLike, seed: int = 0) -> tuple[float, float]:
    """The 95% percentile bootstrap interval of a mean over users.

    Args:
        values: one number per user, [U].
        seed: the seed of the draws.

    Raises:
        ValueError: there are no users.
    """
    numbers = _numbers(values)
    if not len(numbers):
        raise ValueError("an interval needs one user at least")
    different, count = np.unique(numbers, return_counts=True)
    random = np.random.default_rng(seed)
    # To draw users is to draw how often each figure comes. One run has some hundred figures (they depend on ranks), and
    # then that is ten times faster; the means of ten runs have too many.
    if len(different) < len(numbers) / 64:
        means = random.multinomial(len(numbers), count / len(numbers), DRAWS) @ different / len(numbers)  # [draws]
    else:
        means = np.concatenate([_means_of_draws(numbers, draws, random) for draws in _portions(len(numbers))])
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def _means_of_draws(numbers: NDArray[np.float64], draws: int, random: np.random.Generator) -> NDArray[np.float64]:
    users = random.integers(0, len(numbers), (draws, len(numbers)), dtype=np.int32)
    means: NDArray[np.float64] = numbers[users].mean(axis=1)
    return means


def _portions(users: int) -> Iterator[int]:
    """How many draws are made together, until there are :data:`DRAWS`."""
    together = max(1, _NUMBERS // users)
    yield from (min(together, DRAWS - start) for start in range(0, DRAWS, together))


def _numbers(values: ArrayLike) -> NDArray[np.float64]:
    return np.asarray(values, dtype=np.float64).reshape(-1)
