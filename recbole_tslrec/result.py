"""What a run has found: metrics, seconds and folders, as a table and as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tabulate import tabulate

from recbole_tslrec.evaluation.artifact import METRICS, TARGETS
from recbole_tslrec.evaluation.figures import in_order, label
from recbole_tslrec.evaluation.history_modes import shown_modes
from recbole_tslrec.evaluation.model_free import MODEL_FREE
from recbole_tslrec.files import write_json
from recbole_tslrec.registry import split_model_name
from recbole_tslrec.stages import FUSED_TABLES, Run

STAGE_SETTINGS = {"groups": ("group_count",), "sft": ("llm_name_or_path", "sft_epochs")}
TRAINING_SETTINGS = ("epochs", "backbone_epochs", "MAX_ITEM_LIST_LENGTH", "train_batch_size", "learning_rate")


@dataclass(frozen=True)
class Result:
    """The result of a run.

    Attributes:
        model: as asked for.
        dataset: its name.
        seed: RecBole's.
        settings: what the run did, for the table's caption; ``eval_history`` is the mode of ``metrics``.
        metrics: by row (Base, CI, TSLRec), then ``valid`` and ``test``, then RecBole's metric names; in the history
            mode that was asked for, and ``unmasked`` where all were.
        modes: by row and part, then history mode, then metric.
        targets: by row and part, then ``repeat`` and ``explore``: the same for the users whose target is in their
            history, and for the others; ``users`` is their number.
        seconds: by stage, spent in this run.
        built_in_seconds: by stage, what building its artifact took, now or before.
        reused: by stage.
        folders: by stage.
    """

    model: str
    dataset: str
    seed: int
    settings: dict[str, Any]
    metrics: dict[str, dict[str, dict[str, float]]]
    modes: dict[str, dict[str, dict[str, dict[str, float]]]]
    targets: dict[str, dict[str, dict[str, Any]]]
    seconds: dict[str, float]
    built_in_seconds: dict[str, float]
    reused: dict[str, bool]
    folders: dict[str, str]

    @classmethod
    def of(cls, run: Run) -> "Result":
        """Collect the result of a finished or stopped run."""
        config = run.config
        rows = {name.removeprefix("evaluation/"): artifact for name, artifact in run.artifacts.items() if "/" in name}
        modes = {row: artifact.json(METRICS) for row, artifact in rows.items()}
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
            seconds={name: round(seconds, 1) for name, seconds in run.seconds.items()},
            built_in_seconds={name: artifact.seconds for name, artifact in run.artifacts.items()},
            reused=dict(run.reused),
            folders={name: str(artifact.folder) for name, artifact in run.artifacts.items()},
        )

    def write(self, path: str | Path) -> None:
        """Write the result as JSON."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, vars(self))

    def table(self) -> str:
        """Metrics on the test items, then the stages."""
        settings = ", ".join(f"{key} {value}" for key, value in self.settings.items())
        lines = [f"{self.model} on {self.dataset}, seed {self.seed}", settings, ""]
        if self.metrics:
            lines += [self._metrics_table(), ""]
        if any(parts["test"]["repeat"]["users"] for parts in self.targets.values() if "test" in parts):
            lines += [self._targets_table(), ""]
        stages = [
            [name, self.seconds.get(name, ""), "given" if name not in self.reused else self._state(name), folder]
            for name, folder in self.folders.items()
        ]
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

    def _state(self, name: str) -> str:
        return f"reused, built in {self.built_in_seconds[name]:.1f} s" if self.reused[name] else "built"


def _settings(run: Run) -> dict[str, Any]:
    """What the stages of a run did, for the caption."""
    config = run.config
    if config["model"] in MODEL_FREE:
        return {}
    settings = {key: config[key] for key in TRAINING_SETTINGS if config[key] is not None}
    for stage, keys in STAGE_SETTINGS.items():
        if stage in run.reused:  # not where its artifact was given
            settings.update({key: config[key] for key in keys})
    family, _ = split_model_name(config["model"])
    if family in FUSED_TABLES:
        _, fusion = FUSED_TABLES[family]
        settings[fusion] = config[fusion]
    return settings


def _table(labels: Sequence[str], lines: Mapping[tuple[str, ...], Mapping[str, float]]) -> str:
    """A line per label; a metric that a line lacks is left empty."""
    names = dict.fromkeys(name for figures in lines.values() for name in figures)
    order = in_order(names)
    header = [*labels, *map(label, order)]
    body = [[*line, *(figures.get(name, "") for name in order)] for line, figures in lines.items()]
    table: str = tabulate(body, header, floatfmt=".4f")
    return table
