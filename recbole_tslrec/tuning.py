"""``python -m recbole_tslrec tune``: RecBole's search over settings, with the stages of this package in each trial.

A trial runs the pipeline, so it finds every artifact again that its settings leave alone: trials that differ only in
what the recommender reads (``fusion_type``; ``learning_rate`` beside a fixed ``backbone_learning_rate``) share
backbone, SFT and knowledge. For the same reason a search that was stopped goes on where it was: the same command draws
the same settings, and finds finished trials among the artifacts.
"""

import argparse
import ast
import importlib.util
import math
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recbole_tslrec.artifacts import write_json
from recbole_tslrec.config import Config, ConfigError, check_keys
from recbole_tslrec.quick_start import run
from recbole_tslrec.registry import split_model_name
from recbole_tslrec.training import TrainingDiverged

ALGORITHMS = ("exhaustive", "random", "bayes")
_FORMS = {
    "choice": "<key> choice [<value>,<value>,...]",
    "uniform": "<key> uniform <low>,<high>",
    "loguniform": "<key> loguniform <log of low>,<log of high>",
    "quniform": "<key> quniform <low>,<high>,<step>",
}

Space = dict[str, dict[str, Any]]


@dataclass
class Search:
    """The trials of a search.

    Attributes:
        config: the settings that all trials share.
        config_files: yaml files, as given.
        argv: ``--key=value`` arguments, as given; a sampled value goes over them.
        output_file: rewritten after each trial.
        trials: what each has sampled, found, reused and built.
    """

    config: Any
    config_files: Sequence[str]
    argv: Sequence[str]
    output_file: Path
    trials: list[dict[str, Any]] = field(default_factory=list)

    def objective(self, params: Mapping[str, Any], _: Any = None) -> dict[str, Any]:
        """Run one trial; the ``objective_function`` of RecBole's ``HyperTuning``.

        Returns:
            The validation score and metrics. A diverged trial has the worst score there is. There is no test result:
            nobody shall choose by it.
        """
        trial: dict[str, Any] = {"params": dict(params), "score": None}
        try:
            trial.update(self._run(params))
        except TrainingDiverged as error:
            trial["error"] = str(error)
        self.trials.append(trial)
        write_json(self.output_file, self.summary())
        sys.stdout.write(f"trial {len(self.trials)}: {_describe(trial, self.config['valid_metric'])}\n")
        bigger = self.config["valid_metric_bigger"]
        worst = -math.inf if bigger else math.inf
        return {
            "model": self.config["model"],
            "best_valid_score": worst if trial["score"] is None else trial["score"],
            "valid_score_bigger": bigger,
            "best_valid_result": trial.get("valid", {}),
            "test_result": {},
        }

    def _run(self, params: Mapping[str, Any]) -> dict[str, Any]:
        config = self.config
        result = run(config["model"], config["dataset"], self.config_files, argv=[*self.argv, *_as_arguments(params)])
        metrics = result.metrics[split_model_name(config["model"])[0]]
        return {
            "score": metrics["valid"][config["valid_metric"].lower()],
            "valid": metrics["valid"],
            "reused": [stage for stage, reused in result.reused.items() if reused],
            "built": [stage for stage, reused in result.reused.items() if not reused],
            "folders": result.folders,
        }

    def summary(self) -> dict[str, Any]:
        """What is written: the best trial and all of them."""
        finished = [trial for trial in self.trials if trial["score"] is not None]
        choose = max if self.config["valid_metric_bigger"] else min
        best = choose(finished, key=lambda trial: trial["score"], default={"params": None, "score": None})
        names = {name: self.config[name] for name in ("model", "dataset", "seed", "valid_metric")}
        return {**names, "best_params": best["params"], "best_score": best["score"], "trials": self.trials}


def read_space(file: str | Path) -> Space:
    """Read a params_file of RecBole, without evaluating it.

    Args:
        file: lines such as ``learning_rate choice [0.01,0.001]``; see ``_FORMS``. Blank lines and ``#`` are skipped.

    Returns:
        ``{"choice": {key: values}, "uniform": {key: [low, high]}, ...}``, as RecBole's ``params_dict``.

    Raises:
        ConfigError: the file does not exist, a line has none of the forms, or a key is unknown or given twice.
    """
    if not Path(file).is_file():
        raise ConfigError(f"params_file [{file}] does not exist; it holds lines such as: {_FORMS['choice']}")
    space: Space = {}
    for number, line in enumerate(Path(file).read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        key, kind, *rest = [*line.split(), "", ""][: max(len(line.split()), 2)]
        values = _literal_list("".join(rest), kind)
        if values is None:
            raise ConfigError(f"line {number} of {file} is [{line}]; it must have the form {' or '.join(_FORMS.values())}")
        if any(key in keys for keys in space.values()):
            raise ConfigError(f"line {number} of {file} gives [{key}] again; keep one line per key")
        space.setdefault(kind, {})[key] = values
    check_keys({key: None for keys in space.values() for key in keys})
    if not space:
        raise ConfigError(f"params_file [{file}] has no line to search over; write e.g. {_FORMS['choice']}")
    return space
