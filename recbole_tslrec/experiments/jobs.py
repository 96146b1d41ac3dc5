"""A trial with the settings it is run with: the arguments of its process, and whether it has finished already."""

import functools
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recbole_tslrec.configuration.config import Config, given_settings
from recbole_tslrec.data.atomic_files import check_files
from recbole_tslrec.evaluation.history_modes import ranks_all_items
from recbole_tslrec.evaluation.model_free import MODEL_FREE
from recbole_tslrec.evaluation.settings import EvaluationSettings
from recbole_tslrec.experiments.command import Command, key_of, override
from recbole_tslrec.experiments.inputs import Inputs, hashes_of_inputs
from recbole_tslrec.experiments.trials import Outcome, Trial, row_of
from recbole_tslrec.llm.identity import looks_like_a_path, refuse_other_paths
from recbole_tslrec.llm.settings import LLMSettings
from recbole_tslrec.models.families import LLAMAREC, LLM_BASELINES, P5, POD, TSLREC
from recbole_tslrec.models.names import parse_model_name
from recbole_tslrec.pipeline import given_artifacts, plan
from recbole_tslrec.pipeline.fused_sources import FusedSources
from recbole_tslrec.pipeline.knowledge_sources import SFT
from recbole_tslrec.pipeline.llm_baselines import upstream
from recbole_tslrec.pipeline.unread_keys import keys_read
from recbole_tslrec.settings import ConfigError
from recbole_tslrec.store.artifacts import RECIPE_VERSION
from recbole_tslrec.store.contents import ContentHashes
from recbole_tslrec.store.files import hash_file, hash_text, read_json

_SHOWN_ONLY = ("eval_history", "show_progress")  # an evaluation holds every history mode


@dataclass(frozen=True)
class Job:
    """A trial and what it was asked for with.

    Attributes:
        trial: which.
        command: settings of all its trials, and where results lie.
    """

    trial: Trial
    command: Command

    @property
    def file(self) -> Path:
        """Where the result lies."""
        return self.trial.file(self.command.output_dir)

    @property
    def log(self) -> Path:
        """What its process has written."""
        return self.file.with_suffix(".log")

    @property
    def name(self) -> str:
        """For progress and errors, e.g. ``beauty SASRec-TSLRec-seed1``."""
        return " ".join([self.trial.dataset, self.trial.name, *self.command.variant])

    @property
    def keys(self) -> tuple[str, ...]:
        """The ``--key=value`` arguments of the run: those that make the row win over those given."""
        trial, given = self.trial, self.command.settings
        no_vectors = () if self._reads_vectors else ("--knowledge_path=None",)
        own = (*row_of(trial.row).settings, *no_vectors, f"--seed={trial.seed}")
        return override(given, own)

    @property
    def _reads_vectors(self) -> bool:
        """Whether the row reads the item vectors which a user gives; its controls do not."""
        if self.trial.row != LLAMAREC.name:
            return self.trial.row == TSLREC.name
        retriever = given_settings(self.files, {}, self.command.settings).get("retriever")
        return bool(retriever) and parse_model_name(str(retriever)).family is TSLREC

    @property
    def files(self) -> tuple[str, ...]:
        """The yaml files of the run; a model-free row takes those of the first backbone."""
        return self.command.files(self.trial.dataset, self.trial.backbone or self.command.models[0])

    @property
    def request(self) -> dict[str, Any]:
        """What decides the result, kept with it: a result of other settings is not taken for this one."""
        arguments = sorted(key for key in self.keys if key_of(key) not in _SHOWN_ONLY)
        files = [hash_file(Path(file)) for file in self.files]
        asked = {"model": self.trial.model, "arguments": arguments, "config_files": files}
        settings, inputs = _recipe(self.trial.model, self.trial.dataset, self.files, self.keys, tuple(files))
        return {**asked, "recipe": settings, "inputs": hashes_of_inputs(inputs)}

    def config(self) -> Config:
        """The configuration of the run.

        Raises:
            ConfigError: a key, value or file is wrong.
        """
        return Config(self.trial.model, self.trial.dataset, self.files, argv=self.keys)

    def outcome(self) -> Outcome | None:
        """What the trial left, or ``None`` where it has not finished with these settings."""
        result = _read(self.file)
        if result is None or result.get("request") != self.request:
            return None
        outcome = Outcome(self.trial, result)
        return outcome if outcome.folder("evaluation").is_dir() else None


@functools.cache
def _recipe(
    model: str, dataset: str, files: tuple[str, ...], keys: tuple[str, ...], contents: tuple[str, ...]
) -> tuple[str, Inputs]:
    """A hash of the settings that decide a result, defaults among them; and where its inputs lie.

    Args:
        model: its name.
        dataset: its name.
        files: yaml files.
        keys: ``--key=value`` arguments.
        contents: of the yaml files, for they may change.
    """
    config = Config(model, dataset, files, argv=keys)
    recipes = [stage.settings.recipe() for stage in plan(config)] + [EvaluationSettings.of(config).recipe()]
    return hash_text(json.dumps([RECIPE_VERSION, recipes], sort_keys=True, default=str)), Inputs.of(config)


def trials_of(command: Command) -> list[Trial]:
    """The trials of a command that can run, in an order that shares artifacts: the rows of one backbone together.

    A model-free row has one for each dataset, an LLM baseline one for each seed.
    """
    with_model = [row for row in command.rows if row not in (*LLM_BASELINES, *MODEL_FREE)]
    free = [row for row in command.rows if row in MODEL_FREE]
    baselines = [row for row in command.rows if row in LLM_BASELINES]
    trials = []
    for dataset in command.datasets:
        trials += [Trial(dataset, "", row, command.seeds[0]) for row in free]
        trials += [Trial(dataset, "", row, seed) for seed in command.seeds for row in baselines]
        for backbone in command.models:
            trials += [Trial(dataset, backbone, row, seed) for seed in command.seeds for row in with_model]
    return trials


def chains(jobs: Iterable[Job]) -> list[list[Job]]:
    """The jobs by dataset, backbone and seed: those of a chain share a backbone and run one after another."""
    found: dict[tuple[str, str, int], list[Job]] = {}
    for job in jobs:
        found.setdefault((job.trial.dataset, job.trial.backbone, job.trial.seed), []).append(job)
    return list(found.values())


def check_jobs(jobs: Sequence[Job]) -> None:
    """Read the configuration of each kind of run once, before the first one starts.

    Raises:
        ConfigError: a key, value or file is wrong, or what a row or --seeds decides is given as a key; or the rows need
            two kinds of LLM.
        ValueError: a key has a name that does not exist.
        DatasetError: a dataset does not exist.
        ArtifactError: there are no such item vectors or groups.
        LLMError: there is no such LLM.
    """
    kinds = {(job.trial.dataset, job.trial.model, job.trial.row, job.command): job for job in jobs}
    _check_one_kind_of_llm(kinds.values())
    for job in kinds.values():
        if "seed" in given_settings(job.files, {}, job.command.settings):
            raise ConfigError("a report has --seeds=1,2,3 in the place of --seed")
        config = job.config()
        if _reads_an_llm(config) and looks_like_a_path(LLMSettings.of(config).source):
            refuse_other_paths(LLMSettings.of(config).source)
        given_artifacts(upstream(config), ContentHashes(config["artifacts_dir"]))
        source = "+".join(FusedSources.of(config).names)
        if source not in (SFT, job.trial.row):
            raise ConfigError(f"in a report knowledge_source is made by a row: give --rows={source} in its place")
        if (config["eval_args"]["split"] or {}).get("LS") == "valid_only":
            raise ConfigError(
                "reports are of the test items, and eval_args split {'LS': 'valid_only'} leaves none; set it to "
                "valid_and_test"
            )
        if not ranks_all_items(config["eval_args"]):
            mode = config["eval_args"]["mode"]
            raise ConfigError(f"reports compare ranks among all items, and eval_args has mode [{mode}]; set it to full")
        check_files(config)


def _reads_an_llm(config: Config) -> bool:
    """Whether a run loads an LLM that lies somewhere."""
    return "llm_name_or_path" in keys_read(plan(config)) and not LLMSettings.of(config).is_scratch


def _check_one_kind_of_llm(jobs: Iterable[Job]) -> None:
    """Refuse a pretrained LLM for rows of which some need a T5 and others a decoder."""
    rows = dict.fromkeys(job.trial.row for job in jobs if _reads_an_llm(job.config()))
    t5 = [row for row in rows if row in (P5.name, POD.name)]
    others = [row for row in rows if row not in t5]
    if t5 and others:
        raise ConfigError(
            f"llm_name_or_path is one LLM for all rows, and {', '.join(t5)} need a T5, {', '.join(others)} a decoder; "
            "give each kind a report of its own with --rows, and the same --output_dir"
        )


def _read(file: Path) -> dict[str, Any] | None:
    """A result, or ``None`` where there is none or half of one."""
    try:
        result: dict[str, Any] = read_json(file)
    except (FileNotFoundError, ValueError):
        return None
    return result
