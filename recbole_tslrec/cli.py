"""The command line behind the script, ``python -m recbole_tslrec`` and ``recbole-tslrec``."""

import argparse
import importlib
import logging
import shlex
import sys
import traceback
from collections.abc import Sequence
from logging import getLogger
from typing import NamedTuple

from recbole_tslrec.compute import distributed
from recbole_tslrec.compute.lifeline import end_with_parent
from recbole_tslrec.configuration.config import with_home
from recbole_tslrec.configuration.documentation import listing, where_documented
from recbole_tslrec.data.stage import KIND as DATA
from recbole_tslrec.install import install
from recbole_tslrec.pipeline.stage import KINDS
from recbole_tslrec.quick_start import run
from recbole_tslrec.result import Result


class Command(NamedTuple):
    """What ``python -m recbole_tslrec <name> ...`` runs: ``main(argv)`` of a module, and a line about it."""

    module: str
    about: str


COMMANDS = {
    "run": Command("recbole_tslrec.cli", "train and evaluate a model and everything that it is made from; the default"),
    "data": Command("recbole_tslrec.data_command", "download, import or describe a dataset"),
    "recommend": Command("recbole_tslrec.serving.recommend", "recommend items to users by a trained model"),
    "extend": Command("recbole_tslrec.serving.extend", "add new items to a trained model, without training"),
    "export": Command(
        "recbole_tslrec.serving.export_command",
        "write a trained model's item table, an ONNX graph or an index, or push to a hub",
    ),
    "report": Command("recbole_tslrec.report", "make the paper's tables and figures, after running what is missing"),
    "tune": Command("recbole_tslrec.experiments.tuning", "search for the best values of configuration keys"),
}
_WITH_KEYS = ("run", "report", "tune")  # they read configuration keys, _SHOW_ALL among them
_SHOW_ALL = "--state=DEBUG"
MAIN_JOB = ("--model=TSLRecSASRec", "--dataset=ml-100k", "--config_files=properties/presets/quick.yaml")


def main(argv: Sequence[str]) -> Result:
    """Run with command-line arguments; without any, the main job: TSLRecSASRec on ml-100k with the quick preset."""
    parser = _parser("run ", "Train and evaluate a model and everything that it is made from.")
    if not {"-h", "--help"}.isdisjoint(argv):
        parser.epilog = listing()
    given, keys = parser.parse_known_args(list(argv) or MAIN_JOB)
    result = run(
        model=given.model,
        dataset=given.dataset,
        config_file_list=shlex.split(given.config_files),
        argv=keys,
        rebuild=[stage for stage in map(str.strip, given.rebuild.split(",")) if stage],
        stop_after=given.stop_after,
        result_file=given.result_file,
    )
    if distributed.is_main():
        sys.stdout.write(f"\n{result.table()}\n")
    return result


def _parser(command: str, about: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m recbole_tslrec",
        usage=f"%(prog)s {command}[--model=MODEL] [--dataset=DATASET] [--key=value ...]",
        description=f"{about}\n\nEvery other --key=value is a configuration key.\n{where_documented()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    models = "TSLRec<Backbone>, CI<Backbone> or a RecBole model (default: TSLRecSASRec)"
    parser.add_argument("--model", help=models)
    parser.add_argument("--dataset", help="a folder of data_path (default: ml-100k, RecBole's own)")
    parser.add_argument("--config_files", default="", help="yaml files, separated by spaces (default: none)")
    parser.add_argument(
        "--rebuild", default="", help=f"stages to rebuild, separated by commas: {', '.join((DATA, *KINDS))}"
    )
    parser.add_argument("--stop_after", help="the last stage to run (default: run all)")
    parser.add_argument("--result_file", help="where to write the result as JSON (default: nowhere)")
    return parser


def _print_overview() -> None:
    commands = "\n".join(f"  {name:<11} {command.about}" for name, command in COMMANDS.items())
    about = f"""commands, each with a --help of its own:
{commands}

Without a command, run is assumed. Without any arguments, this job is run:
run {" ".join(MAIN_JOB)}
"run --help" lists the configuration keys of this package."""
    _parser("[command] ", about).print_help()


def console() -> None:
    """``main`` for the command line: an error that the user can fix is one message and exit status 1."""
    end_with_parent()
    install()  # what is left out at import is for those who use RecBole beside this package
    if sys.argv[1:] in (["-h"], ["--help"]):
        _print_overview()
        return
    # a shell expands ~ at the start of a word alone, and in --output=~/items.csv there is none
    given = ["=".join(map(with_home, argument.split("=", 1))) for argument in sys.argv[1:]]
    name = given[0] if given else ""
    command = COMMANDS.get(name)
    arguments = given[1:] if name in _WITH_KEYS else [argument for argument in given[1:] if argument != _SHOW_ALL]
    try:
        if command:
            importlib.import_module(command.module).main(arguments)
        else:
            main(given)
        distributed.leave()
    except KeyboardInterrupt:
        sys.exit("interrupted; finished stages are kept, and the same command continues from them")
    except Exception as error:
        if _SHOW_ALL in sys.argv or getLogger().isEnabledFor(logging.DEBUG):
            raise
        sys.exit(f"error: {_said_of(error)}")


def _said_of(error: Exception) -> str:
    """What an error says; of one that no check has foreseen also its kind and where it was raised."""
    foreseen = isinstance(error, ValueError | RuntimeError | ImportError | OSError | MemoryError)
    if foreseen and str(error):
        return str(error)
    place = traceback.extract_tb(error.__traceback__)[-1]
    said = " ".join(f"{type(error).__name__}: {error}".split())
    return f"{said} ({place.filename}:{place.lineno}); the same command with {_SHOW_ALL} shows where it came from"
