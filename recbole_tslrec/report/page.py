"""A report as data: sections of text, tables and figures."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAMES = ("table1", "table2", "fig3", "fig4", "fig5", "ablation", "embeddings", "cold")  # the reports
# (row from 0, column name) -> "best" or "second"
Emphasis = Mapping[tuple[int, str], str]


class ReportError(ValueError):
    """A report cannot be made: results are missing, or do not belong into one table."""


@dataclass(frozen=True)
class Section:
    """A part of a report.

    Attributes:
        title: unique within the page; names its files.
        text: plain paragraphs, separated by empty lines.
        table: shown without its index, so labels are columns. Floats are shown with four decimals and integers with
            separators; CSV and JSON keep them whole. Text is shown as it is, missing values are empty cells.
        figure: written as PNG and SVG.
        interactive: trusted html instead of the figure, made with plotly and without plotly's script.
        emphasis: cells of the table that are best (bold) or second (underlined), by row from 0 and column name.
        note: below the table, e.g. what a star means.
        empty_rows: rows of the table, from 0, that hold no value; the html leaves them out, all other files have them.
    """

    title: str
    text: str = ""
    table: pd.DataFrame | None = None
    figure: "Figure | None" = None
    interactive: str | None = None
    emphasis: Emphasis = field(default_factory=dict)
    note: str = ""
    empty_rows: Collection[int] = ()

    @property
    def slug(self) -> str:
        """The title as a file name."""
        return re.sub(r"[^a-z0-9._]+", "-", self.title.lower()).strip("-.")


@dataclass(frozen=True)
class Opening:
    """What an html page shows before all tables.

    Attributes:
        title: its heading.
        pictures: trusted html, drawn from the tables of the page.
    """

    title: str
    pictures: str


@dataclass(frozen=True)
class Page:
    """A report.

    Attributes:
        name: the name of its command and its folder, e.g. ``table2``.
        title: its heading.
        protocol: quoted as it is: how the figures came about, e.g. the command and ``properties/protocol.yaml``.
        sections: in order.
        openings: before the sections, in html alone; those behind the first are folded.
        failed: the names of runs that failed, and are not in the figures.
    """

    name: str
    title: str
    protocol: str
    sections: Sequence[Section]
    openings: Sequence[Opening] = ()
    failed: Sequence[str] = ()

    @property
    def failures(self) -> str:
        """A sentence about the runs that failed; empty if there are none."""
        return f"Failed, and not in the figures: {', '.join(self.failed)}." if self.failed else ""


def best_and_second(means: Sequence[float], smaller: bool = False) -> dict[int, str]:
    """Which of the means are ``best`` and ``second``, as they are shown: equal ones share a mark.

    Args:
        means: a figure of each row.
        smaller: whether smaller ones are better.
    """
    shown = [round(mean, 4) for mean in means]
    ranks = sorted({mean for mean in shown if mean == mean}, reverse=not smaller)
    marks = dict(zip(ranks, ("best", "second"), strict=False))
    return {row: marks[mean] for row, mean in enumerate(shown) if mean in marks}
