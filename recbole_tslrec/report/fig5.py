"""Figure 5: the metrics by the activity of the users, and by the popularity of the target."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recbole_tslrec.evaluation.history_modes import shown_modes
from recbole_tslrec.evaluation.metrics import label
from recbole_tslrec.evaluation.per_user import UserResults, check_comparable, means_of_users
from recbole_tslrec.evaluation.significance import interval
from recbole_tslrec.experiments.command import Command
from recbole_tslrec.experiments.jobs import trials_of
from recbole_tslrec.experiments.protocol import quoted_protocol
from recbole_tslrec.experiments.runner import outcomes
from recbole_tslrec.experiments.trials import Outcome, row_of
from recbole_tslrec.report.page import Page, ReportError, Section, best_and_second
from recbole_tslrec.report.plots import new_figure, points_with_intervals
from recbole_tslrec.settings import ConfigError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

METRICS = ("ndcg@10", "hit@10")
ACTIVITY_GROUPS = 5
POPULARITY_ENDS = (3, 10, 30)  # the last bin of target popularity is above


@dataclass(frozen=True)
class Groups:
    """A cut of the held-out items, of which each user has one with leave-one-out.

    Attributes:
        by: what they are cut by.
        labels: the labels of the groups.
        members: the group of each, int64 [R].
    """

    by: str
    labels: list[str]
    members: NDArray[np.int64]


def build(command: Command) -> Page:
    """One section per dataset, backbone and asked history mode; its rows are the command's that train a model.

    LLM baselines, which have no backbone, stand in the sections of all.

    Raises:
        ConfigError: the metrics that it shows are not asked for; raised before anything runs.
        ArtifactError: a run has no results by user.
        ReportError: no seed was finished by all rows.
        ValueError: runs differ in data or modes.
    """
    _check_metrics(command)
    trials = [trial for trial in trials_of(command) if row_of(trial.row).family]
    rows = [row for row in command.rows if any(row == trial.row for trial in trials)]
    finished: dict[tuple[str, str], list[Outcome]] = {}
    found = outcomes(trials, command)
    for outcome in sorted(found, key=lambda outcome: not outcome.trial.backbone):  # LLM baselines into each section
        of_dataset = [key for key in finished if key[0] == outcome.trial.dataset and key[1]]
        own = (outcome.trial.dataset, outcome.trial.backbone)
        for key in of_dataset if of_dataset and not outcome.trial.backbone else [own]:
            finished.setdefault(key, []).append(outcome)
    asked = command.config()["eval_history"]
    sections = [
        section(f"{dataset} {backbone}", mode, results, [row for row in rows if row not in results])
        for (dataset, backbone), found in finished.items()
        for results in [by_row(found, rows)]
        for mode in shown_modes(asked)
    ]
    return Page("fig5", "Fig. 5: metrics by user activity and by target popularity", quoted_protocol(command), sections)


def _check_metrics(command: Command) -> None:
    config = command.config()
    if 10 not in config["topk"] or not {"hit", "ndcg"} <= {name.lower() for name in config["metrics"]}:
        shown = " and ".join(map(label, METRICS))
        raise ConfigError(
            f"fig5 shows {shown}, which metrics {config['metrics']} with topk {config['topk']} do "
            "not have; add Hit, NDCG and 10 to them"
        )


def by_row(found: Sequence[Outcome], rows: Sequence[str]) -> dict[str, list[UserResults]]:
    """The results of each row, of the seeds that all rows have finished: other seeds would be no fair comparison.

    Raises:
        ReportError: there is no such seed.
    """
    by_trial = {(outcome.trial.row, outcome.trial.seed): outcome for outcome in found}
    present = [row for row in rows if any(row == name for name, _ in by_trial)]
    seeds = sorted({seed for _, seed in by_trial if all((row, seed) in by_trial for row in present)})
    if not seeds:
        trial = found[0].trial
        raise ReportError(
            f"no seed of {trial.backbone} on {trial.dataset} was finished by all of {', '.join(present)}; run again"
        )
    return {row: [by_trial[row, seed].users() for seed in seeds] for row in present}


def section(name: str, mode: str, results: Mapping[str, Sequence[UserResults]], lacking: Sequence[str] = ()) -> Section:
    """Means and intervals of every row in every group.

    Args:
        name: the name of the data and backbone.
        mode: the history mode.
        results: for each row those of its seeds.
        lacking: rows that have none.

    Raises:
        ValueError: results differ in data, modes or users.
    """
    everything = [result for seeds in results.values() for result in seeds]
    check_comparable(everything)
    users = everything[0].frame
    values = {
        row: {metric: over_seeds(seeds, f"{metric}_{mode}") for metric in METRICS} for row, seeds in results.items()
    }
    cuts = (by_activity(users["sequence_length"].to_numpy()), by_popularity(users["target_popularity"].to_numpy()))
    table = pd.concat([group_means(cut, values, users["user_id"].to_numpy()) for cut in cuts], ignore_index=True)
    seeds = ", ".join(str(seed.about["seed"]) for seed in next(iter(results.values())))
    text = (
        f"eval_history {mode}. Means over users with 95% bootstrap intervals. A user's value is the mean over seeds "
        f"({seeds}), so the intervals reflect the variation between users, not that between seeds. Sequence length and "
        "target popularity count training interactions."
    )
    drawing = figure(table, f"{name}, {mode}")
    note = "The best row of each group is bold, the second underlined."
    if lacking:
        note += f" No run has finished of {', '.join(lacking)}."
    return Section(f"{name} {mode}", text, table, drawing, emphasis=marks(table), note=note)


def over_seeds(seeds: Sequence[UserResults], column: str) -> NDArray[np.float64]:
    """The mean of each held-out item's values over seeds, [R].

    Args:
        seeds: results with the same held-out items in the same order.
        column: the column of their frames.

    Raises:
        ReportError: a frame lacks the column.
    """
    lacking = [str(seed) for seed in seeds if column not in seed.frame]
    if lacking:
        raise ReportError(
            f"[{lacking[0]}] has no {column}; evaluate with 10 in topk, Hit and NDCG in metrics, all items"
        )
    return np.mean([seed.frame[column].to_numpy() for seed in seeds], axis=0, dtype=np.float64)  # type: ignore[no-any-return]


def group_means(
    cut: Groups, values: Mapping[str, Mapping[str, NDArray[np.float64]]], users: NDArray[np.object_]
) -> pd.DataFrame:
    """A row per group and row of the report: users, and for each metric the mean and the ends of its interval.

    Args:
        cut: the groups.
        values: the values of each held-out item, [R], by row and metric.
        users: whose item it is, [R].
    """
    rows = []
    for number, group in enumerate(cut.labels):
        members = cut.members == number
        for row, metrics in values.items():
            found: dict[str, object] = {"by": cut.by, "group": group, "users": len(set(users[members])), "row": row}
            for metric in METRICS:
                name = label(metric)
                of_users = means_of_users(metrics[metric][members], users[members])
                low, high = interval(of_users)
                found |= {name: float(of_users.mean()), f"{name} low": low, f"{name} high": high}
            rows.append(found)
    return pd.DataFrame(rows)


def marks(table: pd.DataFrame) -> dict[tuple[int, str], str]:
    """The best and second rows of each group and metric; none where no row has a hit."""
    return {
        (int(members.index[row]), name): mark
        for name in map(label, METRICS)
        for _, members in table.groupby(["by", "group"])[name]
        if members.any()
        for row, mark in best_and_second(members.tolist()).items()
    }


def figure(table: pd.DataFrame, title: str) -> "Figure":
    """A row of axes for each metric, a column for each cut."""
    cuts = list(table["by"].unique())
    drawing, axes = new_figure(6 * len(cuts), 3 * len(METRICS), len(METRICS), len(cuts))
    for column, by in enumerate(cuts):
        part = table[table["by"] == by]
        groups = part.drop_duplicates("group")
        labels = [f"{group}\n{users:,} users" for group, users in zip(groups["group"], groups["users"], strict=True)]
        for line, name in enumerate(map(label, METRICS)):
            rows = {
                str(row): tuple(own[f"{name}{end}"].tolist() for end in ("", " low", " high"))
                for row, own in part.groupby("row", sort=False)
            }
            points_with_intervals(axes[line, column], labels, rows)
            axes[line, column].set_ylabel(name)
        axes[-1, column].set_xlabel(by)
    axes[0, 0].legend()
    drawing.suptitle(title)
    return drawing


def by_activity(lengths: NDArray[np.int64], count: int = ACTIVITY_GROUPS) -> Groups:
    """Users sorted by the length of their history and cut into equal parts; users of one length stay together.

    So the parts are equal only as far as lengths allow, and fewer where one length fills several.

    Args:
        lengths: training interactions of each user, [U].
        count: the number of parts.
    """
    ends = np.unique(np.quantile(lengths, np.arange(1, count + 1) / count, method="inverted_cdf"))
    return Groups("sequence length", range_labels(lengths.min(), ends), np.searchsorted(ends, lengths))


def by_popularity(popularity: NDArray[np.int64]) -> Groups:
    """Users by how often their target was interacted with in training; bins without a user are left out.

    Args:
        popularity: the popularity of each user's target, [U].
    """
    ends = np.array([*POPULARITY_ENDS, max(popularity.max(), POPULARITY_ENDS[-1] + 1)])
    labels = [*range_labels(0, ends)[:-1], f">{POPULARITY_ENDS[-1]}"]
    present, members = np.unique(np.searchsorted(ends, popularity), return_inverse=True)
    return Groups("target popularity", [labels[number] for number in present], members)


def range_labels(start: int, ends: NDArray[np.int64]) -> list[str]:
    """``3-5`` for a group from 3 to 5, ``3`` for one of 3 alone."""
    starts = [start, *(ends[:-1] + 1)]
    return [f"{low}" if low == high else f"{low}-{high}" for low, high in zip(starts, ends, strict=True)]
