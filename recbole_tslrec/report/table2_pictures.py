"""What table2 opens with: its rows as dots with their spread, and the differences as a forest plot.

Drawn from the tables of the same page: ``every figure`` and ``tests``.
"""

from collections.abc import Iterator, Mapping
from html import escape

import pandas as pd

from recbole_tslrec.evaluation.history_modes import UNMASKED
from recbole_tslrec.models.families import BASE
from recbole_tslrec.report.axis import MINUS, Axis
from recbole_tslrec.report.comparisons import LEVEL, OURS
from recbole_tslrec.report.page import Opening, best_and_second
from recbole_tslrec.report.pictures import Dot, Panel, panels_html


def opening(
    figures: pd.DataFrame, tests: Mapping[str, pd.DataFrame], gains: pd.DataFrame, metric: str, mode: str
) -> Opening:
    """The pictures of one history mode.

    Args:
        figures: the table of :func:`recbole_tslrec.report.table2.figures`.
        tests: the tables of :func:`recbole_tslrec.report.comparisons.comparisons`, by their subject.
        gains: the table of :func:`recbole_tslrec.report.comparisons.gains`.
        metric: the metric of the tests, as it is shown.
        mode: the history mode.
    """
    parts = [*_dot_plots(figures, mode)]
    for subject, table in tests.items():
        parts += _forest_plots(table, "against", f"{subject} less each other row", subject, metric)
    parts += _forest_plots(gains, "row", f"each row less {BASE.name}", "the row", metric)
    return Opening(f"At a glance: history mode {mode}", "\n".join(parts))


def _dot_plots(figures: pd.DataFrame, mode: str) -> Iterator[str]:
    measured = figures[figures["seeds"] > 0]
    with_paper = mode == UNMASKED and bool(measured["paper"].notna().any())  # RecBole's mode, which was the paper's
    for dataset, rows in measured.groupby("dataset", sort=False):
        panels = [dot_panel(metric, of_metric, with_paper) for metric, of_metric in rows.groupby("metric", sort=False)]
        yield f"<h3>{escape(str(dataset))}: every row</h3>"
        yield panels_html(panels, shares_rows=True)
    spread = (
        "the line reaches one standard deviation over seeds each way" if measured["deviation"].notna().any() else ""
    )
    diamond = "the diamond is the paper's value" if with_paper else ""
    said = "; ".join(filter(None, ["Dot: mean over seeds", spread, diamond, "bold: best of a metric"]))
    yield f'<p class="note">{said}. Axes do not begin at 0.</p>'


def dot_panel(metric: str, rows: pd.DataFrame, with_paper: bool) -> Panel:
    """A metric on one dataset: a dot for each row that has finished runs.

    Args:
        metric: as it is shown.
        rows: of the table ``every figure``.
        with_paper: whether the paper's values are drawn.
    """
    marks = best_and_second(rows["mean"].tolist())
    dots = []
    for place, row in enumerate(rows.itertuples()):
        mean, deviation, paper = float(row.mean), row.deviation, row.paper if with_paper else None
        has_spread, has_paper = not pd.isna(deviation), paper is not None and not pd.isna(paper)
        about = f"{row.backbone} {row.row}, {metric}: {mean:.4f}".strip()
        about += f" ± {deviation:.4f}" if has_spread else ""
        about += f" over {row.seeds} seeds" if row.seeds > 1 else " of one seed"
        about += f"; paper {paper:.4f}" if has_paper else ""
        dots.append(
            Dot(
                label=row.row,
                value=mean,
                text=f"{mean:.4f}",
                low=mean - deviation if has_spread else None,
                high=mean + deviation if has_spread else None,
                group=row.backbone,
                about=about,
                kind="ours" if row.row == OURS else "",
                paper=paper if has_paper else None,
                best=marks.get(place) == "best",
            )
        )
    return Panel(metric, dots, Axis.around(end for dot in dots for end in dot.ends()))


def _forest_plots(tests: pd.DataFrame, varies: str, title: str, better: str, metric: str) -> Iterator[str]:
    """The differences of a table as dots with intervals; ``varies`` is the column that names them."""
    if tests.empty:
        return
    for dataset, rows in tests.groupby("dataset", sort=False):
        yield f"<h3>{escape(str(dataset))}: {escape(title)}, {escape(metric)}</h3>"
        yield panels_html(forest_panels(rows, varies))
    yield (
        f'<p class="note">Right of 0, {escape(better)} is better. Dot: difference of the means over seeds, filled '
        f"where p ≤ {LEVEL} over seeds (Welch, Holm), hollow otherwise; line: 95% bootstrap interval over users, which "
        "says nothing of another seed.</p>"
    )


def forest_panels(tests: pd.DataFrame, varies: str) -> list[Panel]:
    """A panel for each backbone on one dataset, all with the same axis.

    Args:
        tests: the differences.
        varies: the column that names them, ``row`` or ``against``.
    """
    axis = Axis.around([0.0, *tests[["difference", "low", "high"]].to_numpy().ravel()])
    return [
        Panel(str(backbone), [_difference(row, varies) for _, row in rows.iterrows()], axis, signed=True)
        for backbone, rows in tests.groupby("backbone", sort=False)
    ]


def _difference(test: pd.Series, varies: str) -> Dot:
    difference, low, high = (float(test[name]) for name in ("difference", "low", "high"))
    shown = f"{difference:+.4f}".replace("-", MINUS)
    over_users = "" if pd.isna(low) else f"{low:+.4f} to {high:+.4f}".replace("-", MINUS)
    pvalue = test["seeds p Holm"]
    certain = not pd.isna(pvalue) and pvalue <= LEVEL
    over_seeds = "no test over seeds" if pd.isna(pvalue) else f"p {pvalue:.4f} over seeds (Holm)"
    return Dot(
        label=str(test[varies]),
        value=difference,
        text=shown,
        low=low if over_users else None,
        high=high if over_users else None,
        about="; ".join(filter(None, [shown, over_users, over_seeds])),
        kind=("gain" if difference > 0 else "loss") if certain else "",
        aside=over_users,
    )
