"""The command line behind the script, ``python -m recbole_tslrec`` and ``recbole-tslrec``."""

import argparse
import importlib
import logging
import sys
from collections.abc import Sequence
from logging import getLogger

from recbole_tslrec.compute import distributed
from recbole_tslrec.pipeline.stage import KINDS
from recbole_tslrec.quick_start import run
from recbole_tslrec.result import Result

# what `python -m recbole_tslrec <command> ...` runs: the `main(argv)` of a module
COMMANDS = {
    "data": "recbole_tslrec.data_command",
    "export": "recbole_tslrec.serving.model_export",
    "extend": "recbole_tslrec.serving.extend",
    "recommend": "recbole_tslrec.serving.recommend",
    "report": "recbole_tslrec.report",
    "tune": "recbole_tslrec.experiments.tuning",
}
MAIN_JOB = ("--model=TSLRecSASRec", "--dataset=ml-100k", "--config_files=properties/presets/quick.yaml")


def main(argv: Sequence[str]) -> Result:
    """Run with command-line arguments; without any, the main job: TSLRecSASRec on ml-100k with the quick preset."""
    parser = argparse.ArgumentParser(
        prog="run_recbole_tslrec.py",
        description="Every other --key=value is a configuration key; see properties/overall.yaml.",
        allow_abbrev=False,
    )
    parser.add_argument("--model", default="TSLRecSASRec", help="TSLRec<Backbone>, CI<Backbone> or a RecBole model")
    parser.add_argument("--dataset", default="ml-100k", help="a folder of data_path; ml-100k ships with RecBole")
    parser.add_argument("--config_files", default="", help="yaml files, separated by spaces")
    parser.add_argument("--rebuild", default="", help=f"stages to build anew, separated by commas: {', '.join(KINDS)}")
    parser.add_argument("--stop_after", help="the last stage to run")
    parser.add_argument("--result_file", help="where to write the result as JSON")
    given, keys = parser.parse_known_args(list(argv) or MAIN_JOB)
    result = run(
        model=given.model,
        dataset=given.dataset,
        config_file_list=given.config_files.split(),
        argv=keys,
        rebuild=[stage for stage in given.rebuild.split(",") if stage],
        stop_after=given.stop_after,
        result_file=given.result_file,
    )
    if distributed.is_main():
        sys.stdout.write(f"\n{result.table()}\n")
    return result


def console() -> None:
    """``main`` for the command line: an error that the user can mend is one message and exit status 1."""
    command = COMMANDS.get(sys.argv[1]) if len(sys.argv) > 1 else None
    try:
        if command:
            importlib.import_module(command).main(sys.argv[2:])
        else:
            main(sys.argv[1:])
        distributed.leave()
    except KeyboardInterrupt:
        sys.exit("interrupted; finished stages are kept, the same command goes on from them")
    except (ValueError, RuntimeError, ImportError, OSError, MemoryError) as error:
        if getLogger().isEnabledFor(logging.DEBUG):  # --state=DEBUG shows where it came from
            raise
        sys.exit(f"error: {error}")
