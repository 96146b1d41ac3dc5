"""The drawings that reports share. matplotlib is imported here alone, and only when something is drawn."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377")  # told apart by colour-blind people too


def new_figure(width: float, height: float, rows: int = 1, columns: int = 1) -> tuple["Figure", NDArray[Any]]:
    """An empty figure that belongs to no window.

    Args:
        width: inches.
        height: inches.
        rows: the rows of axes.
        columns: the columns of axes.

    Returns:
        The figure and its axes, [rows, columns].

    Raises:
        ImportError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            "reports draw with matplotlib; install it with: pip install 'recbole_tslrec[report]'"
        ) from error
    figure = Figure(figsize=(width, height), layout="constrained")
    axes: NDArray[Any] = figure.subplots(rows, columns, squeeze=False)
    return figure, axes


def stacked_shares(labels: Sequence[str], shares: Mapping[str, Sequence[float]], what: str) -> "Figure":
    """Horizontal bars of length 1, each cut into shares.

    Args:
        labels: the labels of the bars, from the top.
        shares: part of each bar by the name of the part; together they make 1.
        what: the parts of what, for the axis.
    """
    figure, [[axes]] = new_figure(7, 1.2 + 0.4 * len(labels))
    left = np.zeros(len(labels))
    places = np.arange(len(labels))
    for (name, part), colour in zip(shares.items(), COLOURS, strict=False):
        bars = axes.barh(places, part, left=left, color=colour, label=name)
        axes.bar_label(bars, [f"{share:.0%}" if share > 0.03 else "" for share in part], label_type="center")
        left += np.asarray(part)
    axes.set_yticks(places, labels)
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.set_xlabel(what)
    axes.legend(ncols=len(shares), loc="lower center", bbox_to_anchor=(0.5, 1), frameon=False)
    return figure


def heat_map(cells: NDArray[Any], row_label: str, column_label: str, cell_label: str) -> "Figure":
    """A matrix of shares as a picture, row 0 on top.

    Args:
        cells: between 0 and 1, [rows, columns].
        row_label: what a row is.
        column_label: what a column is.
        cell_label: what a cell is.
    """
    figure, [[axes]] = new_figure(6, 5)
    picture = axes.imshow(cells, cmap="viridis", vmin=0, vmax=1, interpolation="nearest")
    figure.colorbar(picture, ax=axes, label=cell_label)
    axes.set_xlabel(column_label)
    axes.set_ylabel(row_label)
    return figure


def points_with_intervals(
    axes: "Axes", labels: Sequence[str], rows: Mapping[str, tuple[Sequence[float], Sequence[float], Sequence[float]]]
) -> None:
    """Means with their intervals, side by side in each group.

    Args:
        axes: to draw into.
        labels: the labels of the groups.
        rows: mean, lower and upper end in each group, by the name of the row.
    """
    places = np.arange(len(labels))
    for number, (name, (means, lows, highs)) in enumerate(rows.items()):
        shifted = places + 0.6 / len(rows) * (number - (len(rows) - 1) / 2)
        errors = np.maximum([np.subtract(means, lows), np.subtract(highs, means)], 0)  # [2, groups]
        colour = COLOURS[number % len(COLOURS)]
        axes.errorbar(shifted, means, errors, fmt="o", capsize=3, label=name, color=colour, clip_on=False)
    axes.set_xticks(places, labels)
    axes.set_ylim(bottom=0)
    axes.grid(axis="y", alpha=0.3)
