"""What a run has found: metrics, seconds and folders, as a table and as JSON."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tabulate import tabulate

from recbole_tslrec.artifacts import write_json
from recbole_tslrec.registry import split_model_name
from recbole_tslrec.stages import FUSED_TABLES, Run

STAGE_SETTINGS = {"groups": ("group_count",), "sft": ("llm_name_or_path", "sft_epochs")}
EVAL_HISTORY = "unmasked"  # RecBole's mode for sequential models: items of the history stay in the ranking


@dataclass(frozen=True)
class Result:
    """The result of a run.

    Attributes:
        model: as asked for.
        dataset: its name.
        seed: RecBole's.
        settings: what the run did, for the table's caption.
        metrics: by row (Base, CI, TSLRec), then ``valid`` and ``test``, then RecBole's metric names.
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
    seconds: dict[str, float]
    built_in_seconds: dict[str, float]
    reused: dict[str, bool]
    folders: dict[str, str]

    @classmethod
    def of(cls, run: Run) -> "Result":
        """Collect the result of a finished or stopped run."""
        config = run.config
        rows = {name.removeprefix("evaluation/"): artifact for name, artifact in run.artifacts.items() if "/" in name}
        shown = ("epochs", "backbone_epochs", "MAX_ITEM_LIST_LENGTH", "train_batch_size", "learning_rate")
        settings = {key: config[key] for key in shown if config[key] is not None}
        for stage, keys in STAGE_SETTINGS.items():
            if stage in run.reused:  # not where its artifact was given
                settings.update({key: config[key] for key in keys})
        family, _ = split_model_name(config["model"])
        if family in FUSED_TABLES:
            _, fusion = FUSED_TABLES[family]
            settings[fusion] = config[fusion]
        return cls(
            model=config["model"],
            dataset=config["dataset"],
            seed=config["seed"],
            settings={**settings, "eval_history": EVAL_HISTORY},
            metrics={row: artifact.json("metrics.json") for row, artifact in rows.items()},
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
            names = list(next(iter(self.metrics.values()))["test"])
            order = sorted(names, key=lambda name: (not name.startswith("hit"), name.split("@")[0]))
            header = ["test", *(name.upper().replace("HIT", "HR") for name in order)]
            body = [[row, *(parts["test"][name] for name in order)] for row, parts in self.metrics.items()]
            lines += [tabulate(body, header, floatfmt=".4f"), ""]
        stages = [
            [name, self.seconds.get(name, ""), "given" if name not in self.reused else self._state(name), folder]
            for name, folder in self.folders.items()
        ]
        return "\n".join([*lines, tabulate(stages, ["stage", "seconds", "", "saved in"], floatfmt=".1f")])

    def _state(self, name: str) -> str:
        return f"reused, built in {self.built_in_seconds[name]:.1f} s" if self.reused[name] else "built"
