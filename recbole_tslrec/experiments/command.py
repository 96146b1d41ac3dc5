"""The command line that all reports share."""

import argparse
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from recbole_tslrec.configuration.config import Config, find_config_file
from recbole_tslrec.experiments.trials import PAPER_ROWS, ROWS, row_of
from recbole_tslrec.models.backbones import BACKBONES
from recbole_tslrec.models.names import parse_model_name
from recbole_tslrec.settings import ConfigError

DATASETS = ("beauty", "ml-1m", "yelp")
MODELS = ("GRU4Rec", "Caser", "SASRec", "FMLPRec")
_WITH_WORDS = [name for name, row in ROWS.items() if row.needs_words]  # few datasets have words
_WITH_ROWS = ("table2", "fig5", "ablation")  # the other reports have rows of their own
_WITHOUT_CI = ("Base", "TSLRec")
_DEFAULT_ROWS = {"table2": PAPER_ROWS, "ablation": _WITHOUT_CI, "cold": _WITHOUT_CI}  # others: Base, CI, TSLRec


@dataclass(frozen=True)
class Command:
    """What a report is asked for.

    Attributes:
        datasets: names below ``data_path``.
        models: backbones.
        seeds: RecBole's.
        rows: names that :func:`~recbole_tslrec.experiments.trials.row_of` knows.
        output_dir: where runs and pages are written.
        jobs: processes that train at once.
        slurm: submitit's parameters, where they are jobs of a Slurm cluster; ``None`` for processes of this machine.
        budget: list what would run, and run nothing.
        settings: ``--key=value`` arguments for every run.
        config_files: yaml files for every run; ``{dataset}`` and ``{backbone}`` in a name are those of the run, as in
            ``properties/tuned/{dataset}-{backbone}.yaml``.
        paper: put the paper's figures beside the measured ones (table2).
        axes: what is varied; see ``experiments/axes.py`` (ablation).
        values: values of an axis in the place of its defaults (ablation).
        new_share: the share of items that training never sees (cold).
        new_by: how they are chosen: ``random`` or ``latest`` (cold).
        variant: the value of an axis that these settings are (ablation); empty for none.
        line: the command line.
        failed: the names of runs that have failed; the runner adds them.
    """

    datasets: tuple[str, ...]
    models: tuple[str, ...]
    seeds: tuple[int, ...]
    rows: tuple[str, ...]
    output_dir: Path
    jobs: int = 1
    slurm: Mapping[str, Any] | None = field(default=None, hash=False)
    budget: bool = False
    settings: tuple[str, ...] = ()
    config_files: tuple[str, ...] = ()
    paper: bool = False
    axes: tuple[str, ...] = ()
    values: Mapping[str, Sequence[Any]] = field(default_factory=dict, hash=False)
    new_share: float = 0.1
    new_by: str = "random"
    variant: tuple[str, ...] = ()
    line: str = ""
    failed: list[str] = field(default_factory=list, compare=False)

    def config(self, model: str | None = None, dataset: str | None = None) -> Config:
        """The configuration of a run; of the first model and dataset where none is named.

        Raises:
            ConfigError: a key, value or file is wrong.
        """
        model, dataset = model or self.models[0], dataset or self.datasets[0]
        return Config(model, dataset, self.files(dataset, parse_model_name(model).backbone), argv=self.settings)

    def check_own_knowledge(self) -> None:
        """Refuse item vectors of the user, for a report about what TSLRec's own stages have made.

        Raises:
            ConfigError: there are some.
        """
        if vectors := self.config()["knowledge_path"]:
            raise ConfigError(
                f"knowledge_path [{vectors}] leaves no stage of TSLRec's own, which the report is about; leave it out"
            )

    def files(self, dataset: str, backbone: str) -> tuple[str, ...]:
        """The paths of the yaml files of a run.

        Raises:
            ConfigError: one does not exist.
        """
        named = (file.replace("{dataset}", dataset).replace("{backbone}", backbone) for file in self.config_files)
        return tuple(map(find_config_file, named))


def parse(name: str, argv: Sequence[str]) -> Command:
    """Read the arguments of ``python -m recbole_tslrec report <name>``.

    Raises:
        ConfigError: a row, a seed, a value or a configuration file is wrong.
        ValueError: a model is wrong.
        ImportError: ``--slurm`` without submitit.
    """
    given, settings = _parser(name).parse_known_args(list(argv))
    models, datasets = _named("models", given.models), _named("datasets", given.datasets)
    for singular in ("model", "dataset"):
        if singular in map(key_of, settings):
            raise ConfigError(f"a report has --{singular}s in the place of --{singular}")
    if "rows" in map(key_of, settings):
        raise ConfigError(f"report {name} has rows of its own; leave --rows out")
    for model in models:
        if parse_model_name(model).family.table:
            raise ConfigError(f"--models names backbones, not [{model}]; choose its kind with --rows")
    if given.jobs < 1:
        raise ConfigError(f"--jobs must be a whole number above 0, not [{given.jobs}]")
    command = Command(
        datasets=datasets,
        models=models,
        seeds=_seeds(given.seeds),
        rows=_rows(getattr(given, "rows", "")) or _rows_of(name),
        output_dir=Path(given.output_dir),
        jobs=given.jobs,
        slurm=_slurm(getattr(given, "slurm", "")),
        budget=getattr(given, "budget", False),
        settings=tuple(settings),
        config_files=tuple(shlex.split(given.config_files)),
        paper=getattr(given, "paper", False),
        axes=_list(getattr(given, "axes", "")),
        values=_values(getattr(given, "values", "")),
        new_share=getattr(given, "new_share", 0.1),
        new_by=getattr(given, "new_by", "random"),
        line=f"python -m recbole_tslrec report {name} {shlex.join(argv)}",
    )
    for dataset in command.datasets:
        for model in models:
            command.files(dataset, model)
    return command


def key_of(argument: str) -> str:
    """``--epochs=3`` is of the key ``epochs``."""
    return argument.removeprefix("--").partition("=")[0]


def override(arguments: Sequence[str], by: Sequence[str]) -> tuple[str, ...]:
    """``--key=value`` arguments with some put into the place of those of the same keys."""
    keys = set(map(key_of, by))
    return (*(argument for argument in arguments if key_of(argument) not in keys), *by)


def _parser(name: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"python -m recbole_tslrec report {name}",
        description="Every other --key=value is a configuration key for all runs; see properties/overall.yaml.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--datasets",
        default=",".join(DATASETS),
        help="folders of data_path, separated by commas (default: %(default)s)",
    )
    parser.add_argument(
        "--models", default=",".join(_models_of(name)), help="backbones, separated by commas (default: %(default)s)"
    )
    parser.add_argument("--seeds", default="2020", help="seeds, separated by commas (default: %(default)s)")
    if name in _WITH_ROWS:
        rows = f"all (without {', '.join(_WITH_WORDS)}), or some of {', '.join(ROWS)}, or sources joined by +"
        parser.add_argument("--rows", default="", help=f"{rows} (default: {','.join(_rows_of(name))})")
    parser.add_argument(
        "--output_dir", default="reports", help="where runs and pages are written (default: %(default)s)"
    )
    parser.add_argument("--config_files", default="", help="yaml files, separated by spaces (default: none)")
    parser.add_argument("--jobs", type=int, default=1, help="processes that train at once (default: %(default)s)")
    if name not in ("table1", "fig3"):  # which run no trials
        parser.add_argument(
            "--slurm",
            default="",
            help='run them on a Slurm cluster, e.g. "partition: gpu, gpus_per_node: 1, timeout_min: 600"',
        )
        parser.add_argument(
            "--budget", action="store_true", help="list the runs with estimates of their time, and run nothing"
        )
    if name == "table2":
        parser.add_argument("--paper", action="store_true", help="show the paper's figures beside the measured ones")
    if name == "cold":
        parser.add_argument(
            "--new_share", type=_share, default=0.1, help="share of the items that are new (default: %(default)s)"
        )
        parser.add_argument(
            "--new_by",
            choices=("random", "latest"),
            default="random",
            help="which items are new (default: %(default)s)",
        )
    if name == "ablation":
        parser.add_argument("--axes", default="", help="what is varied, separated by commas (default: everything)")
        parser.add_argument("--values", default="", help='other values, e.g. "group_count: [8, 32], lora_rank: [4]"')
    return parser


def _models_of(name: str) -> tuple[str, ...]:
    return tuple(model for model in MODELS if name != "cold" or not BACKBONES[model].knows_users)


def _share(text: str) -> float:
    share = float(text)
    if not 0 < share < 1:
        raise argparse.ArgumentTypeError(f"must lie between 0 and 1, not [{text}]")
    return share


def _rows_of(name: str) -> tuple[str, ...]:
    return _DEFAULT_ROWS.get(name, ("Base", "CI", "TSLRec"))


def _list(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _named(argument: str, text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(_list(text)))
    if not names:
        raise ConfigError(f"--{argument} names none; leave it out for the default")
    return names


def _seeds(text: str) -> tuple[int, ...]:
    try:
        seeds = tuple(int(seed) for seed in _list(text))
    except ValueError:
        raise ConfigError(f"--seeds must be whole numbers separated by commas, not [{text}]") from None
    if not seeds or len(set(seeds)) < len(seeds):
        raise ConfigError(f"--seeds must name each seed once, not [{text}]")
    return seeds


def _rows(text: str) -> tuple[str, ...]:
    names = tuple(row for row in ROWS if row not in _WITH_WORDS) if text == "all" else _list(text)
    for row in names:
        row_of(row)
    order = [*ROWS]
    several = order.index("scratch") - 0.5  # sources side by side stand behind the single ones
    return tuple(sorted(dict.fromkeys(names), key=lambda row: order.index(row) if row in ROWS else several))


def _slurm(text: str) -> dict[str, Any] | None:
    if not text:
        return None
    if find_spec("submitit") is None:
        raise ImportError("--slurm needs submitit; install it with: pip install 'recbole_tslrec[slurm]'")
    from recbole_tslrec.experiments.slurm_parameters import read_parameters

    return read_parameters(text)


def _values(text: str) -> dict[str, list[Any]]:
    try:
        values = yaml.safe_load("{" + text + "}")
        if not all(isinstance(value, list) and value for value in values.values()):
            raise ConfigError(f"--values must be lists, as in group_count: [8, 32], not [{text}]")
    except yaml.YAMLError as error:
        raise ConfigError(f"--values must read as group_count: [8, 32], lora_rank: [4], not [{text}]") from error
    return {str(axis): list(value) for axis, value in values.items()}
