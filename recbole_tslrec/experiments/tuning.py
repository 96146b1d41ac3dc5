"""``python -m recbole_tslrec tune``: RecBole's search over settings, with the stages of this package in each trial.

A trial runs the pipeline, so it finds every artifact again that its settings leave alone: trials that differ only in
what the recommender reads (``fusion_type``; ``learning_rate`` beside a fixed ``backbone_learning_rate``) share
backbone, SFT and knowledge. For the same reason a search that was stopped goes on where it was: the same command draws
the same settings, and finds finished trials among the artifacts.
"""

import argparse
import importlib.util
import itertools
import math
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from logging import getLogger
from pathlib import Path
from typing import Any

import numpy as np

from recbole_tslrec.compute import distributed
from recbole_tslrec.compute.divergence import TrainingDiverged
from recbole_tslrec.configuration.config import Config
from recbole_tslrec.experiments.search_space import LINES, Space, check_space, read_space
from recbole_tslrec.pipeline import plan
from recbole_tslrec.pipeline.evaluate import row_name
from recbole_tslrec.quick_start import run
from recbole_tslrec.result import BUILT, REUSED
from recbole_tslrec.settings import ConfigError, derive
from recbole_tslrec.settings.base import optional_positive_integer
from recbole_tslrec.store.files import beside, write_json

ALGORITHMS = ("exhaustive", "random", "bayes")


@dataclass
class Search:
    """The trials of a search.

    Attributes:
        config: what all trials share.
        config_files: yaml files, as given.
        argv: ``--key=value`` arguments, as given.
        output_file: written anew after each trial.
        trials: what each has sampled, scored, reused and built.
    """

    config: Any
    config_files: Sequence[str]
    argv: Sequence[str]
    output_file: Path
    trials: list[dict[str, Any]] = field(default_factory=list)

    def check(self, params: Mapping[str, Any]) -> None:
        """Check the configuration of a trial as a run does before it loads the data.

        Raises:
            ValueError: a value is none that its key may have, or does not go with another (``ConfigError``).
        """
        settings = {key: self._setting(key, value) for key, value in params.items()}
        plan(Config(self.config["model"], self.config["dataset"], self.config_files, settings, self.argv))

    def objective(self, params: Mapping[str, Any], _: Any = None) -> dict[str, Any]:
        """Run one trial; the ``objective_function`` of RecBole's ``HyperTuning``.

        Returns:
            The score on the validation items; the worst there is where the training diverged. No test result: nobody
            shall choose by it.
        """
        bigger = self.config["valid_metric_bigger"]
        trial: dict[str, Any] = {"params": {key: self._setting(key, value) for key, value in params.items()}}
        try:
            trial |= self._run(trial["params"])
            score = trial["score"]
        except TrainingDiverged as error:
            trial |= {"score": None, "error": str(error)}
            score = -math.inf if bigger else math.inf
        self.trials.append(trial)
        if distributed.is_main():
            write_json(self.output_file, self.summary())
            sys.stdout.write(f"trial {len(self.trials)}: {_describe(trial)}\n")
        facts = {"model": self.config["model"], "best_valid_score": score, "valid_score_bigger": bigger}
        return {**facts, "best_valid_result": trial.get("valid", {}), "test_result": {}}

    def summary(self) -> dict[str, Any]:
        """The best trial, and all of them."""
        finished = [trial for trial in self.trials if trial["score"] is not None]
        choose = max if self.config["valid_metric_bigger"] else min
        best = choose(finished, key=lambda trial: trial["score"]) if finished else {"params": None, "score": None}
        names = {name: self.config[name] for name in ("model", "dataset", "seed", "valid_metric", "valid_history")}
        return {**names, "best_params": best["params"], "best_score": best["score"], "trials": self.trials}

    def _setting(self, key: str, value: Any) -> Any:
        # hyperopt draws floats, quniform's too, and numpy's own
        value = value.item() if isinstance(value, np.generic) else value
        whole = isinstance(self.config[key], int) and isinstance(value, float) and value.is_integer()
        return int(value) if whole else value

    def _run(self, params: Mapping[str, Any]) -> dict[str, Any]:
        model = self.config["model"]
        result = run(model, self.config["dataset"], self.config_files, params, self.argv)
        valid = result.modes[row_name(derive(self.config, **params))]["valid"][self.config["valid_history"]]
        return {
            "score": valid[self.config["valid_metric"].lower()],
            "valid": valid,
            "reused": [str(each) for each in result.stages if each.state == REUSED],
            "built": [str(each) for each in result.stages if each.state == BUILT],
            "folders": {str(each): each.folder for each in result.stages},
        }


def tune(search: Search, space: Space, algorithm: str = "exhaustive", max_evals: int | None = None) -> dict[str, Any]:
    """Let RecBole's ``HyperTuning`` search.

    Args:
        search: an object of :class:`Search` without trials.
        space: the space from :func:`~recbole_tslrec.experiments.search_space.read_space`.
        algorithm: one of :data:`ALGORITHMS`.
        max_evals: number of trials; ``None`` is all for ``exhaustive``, else RecBole's 100.

    Returns:
        ``search.summary()``.

    Raises:
        RuntimeError: every trial diverged.
    """
    from recbole.trainer.hyper_tuning import HyperTuning, exhaustive_search

    # RecBole's early_stop would end an exhaustive search after ten trials without a better one
    tuning = HyperTuning(search.objective, params_dict=space, algo=algorithm, max_evals=max_evals or 100, early_stop=0)
    tuning.early_stop_fn = None
    tuning._print_result = lambda result: None  # it would print the test result; the objective tells the rest
    if algorithm == "exhaustive":
        # it draws until something new comes: RecBole's 1,000 draws miss settings where there are hundreds
        tuning.algo = partial(exhaustive_search, nbMaxSucessiveFailures=100 * int(tuning.max_evals))
        tuning.max_evals = min(int(tuning.max_evals), max_evals or int(tuning.max_evals))
    os.environ["HYPEROPT_FMIN_SEED"] = str(search.config["seed"])  # the same command draws the same settings
    tuning.run()
    summary = search.summary()
    if summary["best_params"] is None:
        raise RuntimeError(f"every trial diverged, the last since {search.trials[-1]['error']}")
    return summary


def _describe(trial: Mapping[str, Any]) -> str:
    params = ", ".join(f"{key} {value}" for key, value in trial["params"].items())
    if trial["score"] is None:
        return f"{params}: {trial['error']}"
    reused, built = (", ".join(trial[part]) or "nothing" for part in ("reused", "built"))
    return f"{params}: {trial['score']}; reused {reused}; built {built}"


def _check_validates(config: Any) -> None:
    split = config["eval_args"]["split"] or {}
    shares = split.get("RS") or split.get("TS") or [1, 1, 1]
    if not config["benchmark_filename"] and (split.get("LS") == "test_only" or not shares[1]):
        raise ConfigError(
            f"a search goes by the validation items, and eval_args split {split} leaves none; set it to "
            "{'LS': 'valid_and_test'}, or to shares such as {'RS': [0.8, 0.1, 0.1]}"
        )


def _keep(output_file: Path) -> None:
    """Give the trials of an earlier search the first free name of ``<name>.former-1``, ``<name>.former-2``, ..."""
    names = (beside(output_file, f"former-{number}") for number in itertools.count(1))
    former = next(name for name in names if not name.exists())
    os.replace(output_file, former)
    getLogger().info(f"{output_file} had the trials of an earlier search; they are kept in {former}")


def main(argv: Sequence[str]) -> None:
    """The command line of the search.

    Raises:
        ConfigError: a key, value or file is wrong; said before anything runs.
        ImportError: hyperopt is not installed.
    """
    parser = argparse.ArgumentParser(
        prog="python -m recbole_tslrec tune",
        description=f"Search for the best valid_metric on the validation items. The params_file has lines {LINES}. "
        "Every other --key=value is a configuration key that all trials share.",
        allow_abbrev=False,
    )
    parser.add_argument("--params_file", required=True, help="file that describes the search space")
    parser.add_argument("--model", required=True, help="TSLRec<Backbone>, CI<Backbone> or a RecBole model")
    parser.add_argument("--dataset", required=True, help="a folder of data_path")
    parser.add_argument("--config_files", default="", help="yaml files, separated by spaces (default: none)")
    parser.add_argument(
        "--algo",
        default="exhaustive",
        choices=ALGORITHMS,
        help="exhaustive works for choices only (default: %(default)s)",
    )
    parser.add_argument(
        "--max_evals", type=int, help="number of trials (default: all of an exhaustive search, else 100)"
    )
    parser.add_argument(
        "--output_file", help="JSON file for the trials (default: artifacts_dir/<dataset>/tuning-<model>.json)"
    )
    given, keys = parser.parse_known_args(argv)
    optional_positive_integer("--max_evals", given.max_evals)
    config_files = shlex.split(given.config_files)
    config = Config(given.model, given.dataset, config_files, argv=keys)
    _check_validates(config)
    space = read_space(given.params_file, [key.removeprefix("--").partition("=")[0] for key in keys])
    if given.algo == "exhaustive" and set(space) != {"choice"}:
        raise ConfigError("an exhaustive search takes choices only; use --algo=random or --algo=bayes for ranges")
    if importlib.util.find_spec("hyperopt") is None:
        raise ImportError("tuning needs hyperopt; install it with: pip install 'recbole_tslrec[tuning]'")
    output_file = Path(
        given.output_file or Path(config["artifacts_dir"], given.dataset, f"tuning-{config['model']}.json")
    )
    search = Search(config, config_files, keys, output_file)
    check_space(space, given.params_file, search.check)
    output_file.parent.mkdir(parents=True, exist_ok=True)
    if distributed.is_main() and output_file.exists():
        _keep(output_file)
    best = tune(search, space, given.algo, given.max_evals)
    params = " ".join(f"--{key}={value}" for key, value in best["best_params"].items())
    sys.stdout.write(f"\nbest {best['valid_metric']} (valid): {best['best_score']} with {params}\nin {output_file}\n")
