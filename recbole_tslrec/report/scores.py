"""The metrics of finished runs by dataset, line of a table and seed, and the tests between lines."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recbole_tslrec.evaluation.metrics import in_order
from recbole_tslrec.evaluation.per_user import UserResults, check_comparable
from recbole_tslrec.evaluation.significance import PairedTest, SeedTest, holm, paired, two_sample
from recbole_tslrec.experiments.trials import Outcome

LEVEL = 0.05


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
        """The other finished rows of the same backbone on a dataset."""
        cells = [other for name, other in self.outcomes if name == dataset and other.backbone == line.backbone]
        return [other for other in cells if other != line and not self.are_same(dataset, line, other)]

    def are_same(self, dataset: str, line: Line, other: Line) -> bool:
        """Whether two lines are of the same artifacts: ``scratch`` is TSLRec where that has no other LLM."""
        own, others = (
            {outcome.folder("evaluation") for outcome in self.outcomes.get((dataset, each), {}).values()}
            for each in (line, other)
        )
        return bool(own & others)

    def best_other(self, dataset: str, line: Line, metric: str) -> Line | None:
        """The best baseline of a line: of the other rows of its backbone the one with the highest mean."""
        return max(self.others(dataset, line), key=lambda other: self.mean(dataset, other, metric), default=None)

    def over_seeds(self, dataset: str, line: Line, other: Line, metric: str) -> SeedTest:
        """The paper's test between two lines."""
        return two_sample(self.values(dataset, line, metric), self.values(dataset, other, metric))

    def over_users(self, dataset: str, line: Line, other: Line, metric: str) -> PairedTest | None:
        """The paired test between two lines, of each user's mean over the seeds that both have; ``None`` without one.

        Raises:
            ValueError: they were evaluated on different data.
        """
        seeds = sorted(self.outcomes[dataset, line].keys() & self.outcomes[dataset, other].keys())
        if not seeds:
            return None
        own, others = (self._user_means(dataset, each, metric, seeds) for each in (line, other))  # [U] each
        return paired(own, others)

    def stars(self, dataset: str, lines: Iterable[Line], metric: str) -> set[Line]:
        """Which lines are better than their best baseline at :data:`LEVEL`, with Holm's correction over the lines."""
        tested = [(line, other) for line in lines if (other := self.best_other(dataset, line, metric))]
        tests = [self.over_seeds(dataset, line, other, metric) for line, other in tested]
        pvalues = holm([test.pvalue for test in tests])
        return {
            line
            for (line, _), test, pvalue in zip(tested, tests, pvalues, strict=True)
            if pvalue is not None and pvalue <= LEVEL and test.mean_difference > 0
        }

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

    def _user_means(self, dataset: str, line: Line, metric: str, seeds: list[int]) -> NDArray[np.float64]:
        frames = [self.outcomes[dataset, line][seed].users().frame for seed in seeds]
        each = np.array([frame[f"{metric}_{self.mode}"].to_numpy(np.float64) for frame in frames])  # [seeds, U]
        means: NDArray[np.float64] = each.mean(axis=0)
        return means
