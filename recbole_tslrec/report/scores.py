"""The metrics of finished runs by dataset, line of a table and seed."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recbole_tslrec.evaluation.metrics import in_order
from recbole_tslrec.evaluation.per_user import UserResults, check_comparable, means_of_users
from recbole_tslrec.experiments.trials import Outcome
from recbole_tslrec.models.families import LLM_BASELINES


class Line(NamedTuple):
    """A line of a table: a row of one backbone, or a row without any (``backbone`` is empty)."""

    backbone: str
    row: str

    def __str__(self) -> str:
        return f"{self.backbone} {self.row}".strip()


@dataclass(frozen=True)
class Scores:
    """The metrics on the test items in one history mode.

    Attributes:
        mode: the history mode.
        outcomes: by dataset and line, then seed.
        metrics: the same cells, then metric.
    """

    mode: str
    outcomes: Mapping[tuple[str, Line], Mapping[int, Outcome]]
    metrics: Mapping[tuple[str, Line], Mapping[int, Mapping[str, float]]]

    @classmethod
    def of(cls, outcomes: Iterable[Outcome], mode: str) -> "Scores":
        """Sort outcomes into their cells."""
        cells: dict[tuple[str, Line], dict[int, Outcome]] = {}
        for outcome in outcomes:
            trial = outcome.trial
            cells.setdefault((trial.dataset, Line(trial.backbone, trial.row)), {})[trial.seed] = outcome
        metrics = {cell: {seed: one.metrics(mode) for seed, one in seeds.items()} for cell, seeds in cells.items()}
        return cls(mode, cells, metrics)

    def names(self) -> list[str]:
        """The metrics that every run has, in the order of the paper."""
        runs = [metrics for seeds in self.metrics.values() for metrics in seeds.values()]
        return in_order(name for name in runs[0] if all(name in run for run in runs)) if runs else []

    def values(self, dataset: str, line: Line, metric: str) -> list[float]:
        """The metric of each finished seed."""
        return [metrics[metric] for metrics in self.metrics.get((dataset, line), {}).values()]

    def mean(self, dataset: str, line: Line, metric: str) -> float:
        """Over seeds; not a number where none has finished."""
        values = self.values(dataset, line, metric)
        return float(np.mean(values)) if values else float("nan")

    def others(self, dataset: str, line: Line) -> list[Line]:
        """The other finished rows of the same backbone on a dataset, and the LLM baselines, which have none."""
        comparable = [
            other
            for name, other in self.outcomes
            if name == dataset and (other.backbone == line.backbone or other.row in LLM_BASELINES)
        ]
        return [other for other in comparable if other != line and not self.are_same(dataset, line, other)]

    def are_same(self, dataset: str, line: Line, other: Line) -> bool:
        """Whether two lines are of the same artifacts: ``scratch`` is TSLRec where that has no other LLM."""
        own, others = (
            {outcome.folder("evaluation") for outcome in self.outcomes.get((dataset, each), {}).values()}
            for each in (line, other)
        )
        return bool(own & others)

    def check_comparable(self) -> None:
        """Refuse runs on different data in one table.

        Raises:
            ValueError: two runs differ in data or users; names both.
            ArtifactError: a run has no results by user.
        """
        first: dict[str, UserResults] = {}
        for (dataset, _), seeds in self.outcomes.items():
            for users in (outcome.users() for outcome in seeds.values()):
                check_comparable([first.setdefault(dataset, users), users])

    def user_means(self, dataset: str, line: Line, metric: str, seeds: Sequence[int]) -> NDArray[np.float64]:
        """The metric of each user, the mean over some seeds and the user's held-out items, [U]."""
        frames = [self.outcomes[dataset, line][seed].users().frame for seed in seeds]
        each = np.array([frame[f"{metric}_{self.mode}"].to_numpy(np.float64) for frame in frames])  # [seeds, R]
        return means_of_users(each.mean(axis=0), frames[0]["user_id"])
