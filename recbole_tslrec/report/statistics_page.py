"""The page of ``data stats``: what one dataset is like."""

import shlex
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recbole_tslrec.data.statistics import DatasetStatistics
from recbole_tslrec.report.page import Page, Section
from recbole_tslrec.report.plots import COLOURS, new_figure
from recbole_tslrec.report.table1 import against_paper, in_detail


def page(found: DatasetStatistics, keys: Sequence[str] = ()) -> Page:
    """Counts beside the paper's, every statistic, and the distributions of length and popularity.

    Args:
        found: the statistics.
        keys: the ``--key=value`` arguments they were asked with, such as a filter.
    """
    return Page(
        f"statistics-{found.name}",
        f"Statistics of {found.name}",
        shlex.join(["python", "-m", "recbole_tslrec", "data", "stats", f"--dataset={found.name}", *keys]),
        [against_paper([found]), in_detail([found]), distributions(found)],
    )


def distributions(found: DatasetStatistics) -> Section:
    """Which share of the users has a history of a length or more, and the same of items and popularity."""
    figure, [[left, right]] = new_figure(9, 3.2, columns=2)
    for axes, values, of in (
        (left, found.lengths, "users with so many interactions or more"),
        (right, found.popularity, "items with so many training interactions or more"),
    ):
        axes.step(*at_least(values), where="pre", color=COLOURS[0])
        axes.set_xscale("symlog", linthresh=1)  # popularity may be 0
        axes.set_yscale("log")
        axes.set_xlabel("interactions")
        axes.set_title(f"share of {of}", fontsize="medium")
        axes.grid(alpha=0.3)
    text = "Shares are cumulated from the right: few users and items have most interactions, and would vanish in bars."
    return Section("Distributions", text, figure=figure)


def at_least(values: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """The distinct values, rising, and for each the share of all values that are as large or larger."""
    distinct, counts = np.unique(values, return_counts=True)
    return distinct, counts[::-1].cumsum()[::-1] / len(values)
