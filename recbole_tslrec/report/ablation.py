"""Ablations: the effect of each choice of the method, one at a time, compared with the same Base."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from recbole_tslrec.evaluation.history_modes import shown_modes
from recbole_tslrec.evaluation.metrics import label
from recbole_tslrec.experiments.axes import AXES, variants
from recbole_tslrec.experiments.command import Command
from recbole_tslrec.experiments.jobs import Job, trials_of
from recbole_tslrec.experiments.protocol import quoted_protocol
from recbole_tslrec.experiments.runner import outcomes_of
from recbole_tslrec.experiments.trials import Outcome
from recbole_tslrec.report.page import Page, Section
from recbole_tslrec.report.plots import new_figure, points_with_intervals
from recbole_tslrec.report.scores import Line, Scores

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BASE = "Base"
Measured = Mapping[str, Sequence[Outcome]]  # by the label of a value


def build(command: Command) -> Page:
    """Run what is missing, then a table and a plot for each axis, in each history mode that is asked for.

    Raises:
        ConfigError: an axis cannot be varied.
        ArtifactError: a run has no metrics in that mode.
    """
    axes = variants(command)
    base = [Job(trial, command) for trial in trials_of(replace(command, rows=(BASE,)))]
    jobs = {variant: variant.jobs(command) for values in axes.values() for variant in values}
    outcomes_of([*base, *(job for of_variant in jobs.values() for job in of_variant)], command)
    config = command.config()
    sections = [
        axis_section(axis, measured, mode, str(config["valid_metric"]).lower())
        for axis, values in axes.items()
        for measured in [{BASE: _finished(base), **{value.label: _finished(jobs[value]) for value in values}}]
        for mode in shown_modes(config["eval_history"])
    ]
    return Page("ablation", "Ablations", quoted_protocol(command), sections)


def axis_section(axis: str, measured: Measured, mode: str, metric: str) -> Section:
    """One axis in one history mode.

    Args:
        axis: its name.
        measured: the outcomes of each value, those of Base among them.
        mode: the history mode.
        metric: that is drawn, and shown on the validation items too.
    """
    about = AXES[axis].about if axis in AXES else "A key of the configuration."
    return Section(
        f"Ablation of {axis}, {mode}",
        f"{about} History mode {mode}; means over seeds, with their standard deviation.",
        axis_table(axis, measured, mode, metric),
        axis_figure(axis, measured, mode, metric),
        note=f"On the test items, except for valid {label(metric)}, in the mode valid_history, by which alone a "
        "setting is chosen.",
    )


def axis_table(axis: str, measured: Measured, mode: str, metric: str) -> pd.DataFrame:
    """A row for each dataset, line and value.

    Returns:
        Columns ``dataset``, ``model`` (backbone and row), the axis (empty for Base), ``seeds``,
        ``valid <metric>``, and each metric on the test items with its ``deviation`` (none with one seed).
    """
    rows: list[dict[str, Any]] = []
    for value, outcomes in measured.items():
        scores = Scores.of(outcomes, mode)
        for dataset, line in scores.outcomes:
            rows.append({"dataset": dataset, "model": str(line), axis: "" if value == BASE else value})
            of_line = scores.outcomes[dataset, line].values()
            validations = [outcome.metrics(outcome.valid_history, "valid") for outcome in of_line]
            valid = [found.get(metric, np.nan) for found in validations]  # a split may leave no validation items
            rows[-1] |= {"seeds": len(valid), f"valid {label(metric)}": np.mean(valid)}
            for name in scores.names():
                values = scores.values(dataset, line, name)
                rows[-1] |= {label(name): np.mean(values)}
                rows[-1] |= {f"{label(name)} deviation": np.std(values, ddof=1) if len(values) > 1 else None}
    return pd.DataFrame(rows)


def axis_figure(axis: str, measured: Measured, mode: str, metric: str) -> "Figure":
    """The metric over the values, axes for each dataset; bars reach one standard deviation each way, Base is a line."""
    scores = {value: Scores.of(outcomes, mode) for value, outcomes in measured.items()}
    cells = dict.fromkeys(cell for of_value in scores.values() for cell in of_value.outcomes)
    datasets = list(dict.fromkeys(dataset for dataset, _ in cells))
    varied = [value for value in measured if value != BASE]
    figure, [row] = new_figure(max(4.0, 1.1 * len(varied)) * len(datasets), 3.2, columns=max(1, len(datasets)))
    for axes, dataset in zip(row, datasets, strict=False):
        points = {}
        for line in (line for name, line in cells if name == dataset):
            if line.row == BASE:
                axes.axhline(scores[BASE].mean(dataset, line, metric), linestyle="--", color="grey", label=str(line))
            else:
                points[str(line)] = _points([scores[value] for value in varied], dataset, line, metric)
        points_with_intervals(axes, varied, points)
        axes.set_title(dataset)
        axes.set_xlabel(axis)
        axes.set_ylabel(f"{label(metric)}, {mode}")
        axes.legend(fontsize="small")
    return figure


def _points(
    scores: Sequence[Scores], dataset: str, line: Line, metric: str
) -> tuple[list[float], list[float], list[float]]:
    values = [of_value.values(dataset, line, metric) or [float("nan")] for of_value in scores]
    means = [float(np.mean(each)) for each in values]
    deviations = [float(np.std(each, ddof=1)) if len(each) > 1 else 0.0 for each in values]
    pairs = list(zip(means, deviations, strict=True))
    return means, [mean - deviation for mean, deviation in pairs], [mean + deviation for mean, deviation in pairs]


def _finished(jobs: Sequence[Job]) -> list[Outcome]:
    return [outcome for job in jobs if (outcome := job.outcome())]
