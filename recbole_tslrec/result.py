"""The result of a run: metrics, seconds and folders, as a table and as JSON."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tabulate import tabulate

from recbole_tslrec.evaluation.history_modes import shown_modes
from recbole_tslrec.evaluation.metrics import in_order, label
from recbole_tslrec.evaluation.model_free import MODEL_FREE
from recbole_tslrec.evaluation.result_files import METRICS, TARGETS
from recbole_tslrec.models.names import parse_model_name
from recbole_tslrec.pipeline.run import Run
from recbole_tslrec.pipeline.stage import name_of
from recbole_tslrec.store.files import room_for, write_json

GIVEN, REUSED, BUILT = "given", "reused", "built"
_OF_THE_LLM = ("llm_name_or_path", "sft_epochs")
STAGE_SETTINGS = {"groups": ("group_count",), **dict.fromkeys(("sft", "llm_task", "ranker"), _OF_THE_LLM)}
TRAINING_SETTINGS = (
    "epochs",
    "backbone_epochs",
    "MAX_ITEM_LIST_LENGTH",
    "train_batch_size",
    "learning_rate",
    "average_weights",
    "valid_history",
)


@dataclass(frozen=True)
class StageResult:
    """The result of one stage of a run.

    Attributes:
        stage: the kind of the stage.
        row: the row of the table, for an evaluation; empty otherwise.
        state: given, reused or built.
        seconds: spent in this run.
        built_in_seconds: how long building the artifact took, in this run or an earlier one.
        folder: the folder of the artifact.
    """

    stage: str
    row: str
    state: str
    seconds: float
    built_in_seconds: float
    folder: str

    def __str__(self) -> str:
        return f"{self.stage} of {self.row}" if self.row else self.stage

    def described(self) -> str:
        """The state, for a table."""
        return f"reused, built in {self.built_in_seconds:.1f} s" if self.state == REUSED else self.state


@dataclass(frozen=True)
class Result:
    """The result of a run.

    Attributes:
        model: as asked for.
        dataset: its name.
        seed: RecBole's seed.
        settings: the main settings of the run, for the table's caption.
        metrics: by row (Base, CI, TSLRec), then by part (``valid``, ``test``), then by RecBole's metric name; in the
            history mode of ``eval_history``, or in ``unmasked`` if that is ``all``.
        modes: by row and part, then by history mode, then by metric.
        targets: by row and part, then ``repeat`` and ``explore``: the same for the users whose target is in their
            history and for the others; ``users`` is the number of these users.
        stages: the result of each stage, in the order in which they ended; artifacts that were given come first.
        coverage: by row of an LLM baseline: how many ``candidates`` it ranks for a user (``None``: all items), and by
            part the share of the users whose target is among them, ``candidate_coverage``.
    """

    model: str
    dataset: str
    seed: int
    settings: dict[str, Any]
    metrics: dict[str, dict[str, dict[str, float]]]
    modes: dict[str, dict[str, dict[str, dict[str, float]]]]
    targets: dict[str, dict[str, dict[str, Any]]]
    stages: tuple[StageResult, ...]
    coverage: dict[str, dict[str, Any]]

    @classmethod
    def of(cls, run: Run) -> "Result":
        """Collect the result of a finished or stopped run."""
        config = run.config
        modes = {row: artifact.json(METRICS) for row, artifact in run.evaluations.items()}
        targets = {row: parts.pop(TARGETS) for row, parts in modes.items()}
        mode = shown_modes(config["eval_history"])[0]
        return cls(
            model=config["model"],
            dataset=config["dataset"],
            seed=config["seed"],
            settings={**_settings(run), "eval_history": config["eval_history"]},
            metrics={row: {part: found[mode] for part, found in parts.items()} for row, parts in modes.items()},
            modes=modes,
            targets=targets,
            stages=tuple(_stages(run)),
            coverage=_coverage(run),
        )

    @property
    def folders(self) -> dict[str, str]:
        """The folder of each stage except the evaluations."""
        return {each.stage: each.folder for each in self.stages if not each.row}

    @property
    def evaluations(self) -> dict[str, str]:
        """The folder of the evaluation of each row."""
        return {each.row: each.folder for each in self.stages if each.row}

    @property
    def reused(self) -> dict[str, bool]:
        """Whether the artifact of each stage was found; without evaluations and artifacts that were given."""
        return {each.stage: each.state != BUILT for each in self.stages if not each.row and each.state != GIVEN}

    def write(self, path: str | Path) -> None:
        """Write the result as JSON."""
        path = Path(path)
        with room_for(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, asdict(self))

    def table(self) -> str:
        """A table of the metrics on the test items, and one of the stages."""
        settings = ", ".join(f"{key} {value}" for key, value in self.settings.items())
        lines = [f"{self.model} on {self.dataset}, seed {self.seed}", settings, ""]
        if self.metrics:
            lines += [self._metrics_table(), ""]
        lines += [f"{row}: {described_coverage(found)}\n" for row, found in self.coverage.items()]
        if any(parts["test"]["repeat"]["users"] for parts in self.targets.values() if "test" in parts):
            lines += [self._targets_table(), ""]
        stages = [[str(each), each.seconds, each.described(), each.folder] for each in self.stages]
        if not stages:
            return "\n".join([*lines, "the data are read; no stage was asked for"])
        return "\n".join([*lines, tabulate(stages, ["stage", "seconds", "", "saved in"], floatfmt=".1f")])

    def _metrics_table(self) -> str:
        modes = shown_modes(self.settings["eval_history"])
        return _table(("test", "history"), {(row, m): of["test"][m] for row, of in self.modes.items() for m in modes})

    def _targets_table(self) -> str:
        lines: dict[tuple[str, ...], dict[str, float]] = {
            (row, kind, str(found["users"]), mode): found[mode]
            for row, parts in self.targets.items()
            for kind, found in parts.get("test", {}).items()
            for mode in shown_modes(self.settings["eval_history"])
        }
        return _table(("test", "target", "users", "history"), lines)


def described_coverage(coverage: Mapping[str, Any]) -> str:
    """One phrase on what a row of :attr:`Result.coverage` can rank."""
    if coverage["candidates"] is None:
        return "ranks all items"
    share = coverage["candidate_coverage"]["test"]
    return f"puts {coverage['candidates']} items in order; the target is one of them for {share:.1%} of the test users"


def _coverage(run: Run) -> dict[str, dict[str, Any]]:
    reports = {row: artifact.manifest["report"] for row, artifact in run.evaluations.items()}
    return {row: dict(report) for row, report in reports.items() if report and "candidates" in report}


def _stages(run: Run) -> Iterator[StageResult]:
    for name, artifact in run.given.items():
        yield StageResult(name, "", GIVEN, 0.0, artifact.seconds, str(artifact.folder))
    for each in run.finished:
        state, folder = REUSED if each.reused else BUILT, str(each.artifact.folder)
        yield StageResult(
            name_of(each.kind, each.part), each.row, state, round(each.seconds, 1), each.artifact.seconds, folder
        )


def _settings(run: Run) -> dict[str, Any]:
    """What the stages of a run did, for the caption."""
    config = run.config
    if config["model"] in MODEL_FREE:
        return {}
    given = {key: config[key] for key in TRAINING_SETTINGS}
    settings = {key: value for key, value in given.items() if value is not None and value is not False}
    for stage, keys in STAGE_SETTINGS.items():
        if any(each.kind == stage for each in run.finished):  # not where its artifact was given
            settings.update({key: config[key] for key in keys})
    fusion = parse_model_name(config["model"]).family.settings
    if fusion:
        key, *_ = fusion.key_names()  # fusion_type or ci_fusion_type
        settings[key] = config[key]
    return settings


def _table(labels: Sequence[str], lines: Mapping[tuple[str, ...], Mapping[str, float]]) -> str:
    """A line per label; a metric that a line lacks is left empty."""
    names = dict.fromkeys(name for figures in lines.values() for name in figures)
    order = in_order(names)
    header = [*labels, *map(label, order)]
    body = [[*line, *(figures.get(name, "") for name in order)] for line, figures in lines.items()]
    table: str = tabulate(body, header, floatfmt=".4f")
    return table
