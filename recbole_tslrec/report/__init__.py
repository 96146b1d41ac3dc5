"""``python -m recbole_tslrec report <name>``: the paper's tables and figures, each from one command."""

import importlib
import sys
from collections.abc import Sequence
from dataclasses import replace

from recbole_tslrec.experiments.command import parse
from recbole_tslrec.experiments.runner import OnlyListed
from recbole_tslrec.report.page import NAMES


class RunsFailed(RuntimeError):
    """Some runs of a report have failed."""


def main(argv: Sequence[str]) -> None:
    """Make one report: run what is missing, then write its files and ``index.html`` over all reports of the folder.

    Runs that fail leave a report of the others, which names them.

    Raises:
        RunsFailed: some have; raised when the report is written.
        ValueError: there is no such report, or an argument is wrong; said before anything runs.
        ImportError: matplotlib is not installed.
        ArtifactError: a result lacks what the report needs.
    """
    name = argv[0] if argv else ""
    if name in ("-h", "--help"):
        sys.stdout.write(_help())
        return
    if name not in NAMES:
        raise ValueError(f"report [{name}] does not exist; the reports are {', '.join(NAMES)}")
    command = parse(name, argv[1:])
    from recbole_tslrec.report.plots import new_figure
    from recbole_tslrec.report.writing import check_folder, write_page

    new_figure(1, 1)  # without matplotlib this says so now, and not behind hours of training
    check_folder(name, command.output_dir)
    try:
        page = importlib.import_module(f"recbole_tslrec.report.{name}").build(command)
    except OnlyListed:  # --budget
        return
    written = write_page(replace(page, failed=tuple(command.failed)), command.output_dir)
    sys.stdout.write(f"\n{page.title}: {written}\n")
    if command.failed:
        raise RunsFailed(f"not in the report, since their runs failed: {', '.join(command.failed)}")


def _help() -> str:
    """The reports, each with the first line of its module."""
    about = {name: importlib.import_module(f"recbole_tslrec.report.{name}").__doc__ or "" for name in NAMES}
    reports = "\n".join(f"  {name:<11} {lines.splitlines()[0]}" for name, lines in about.items())
    usage = "usage: python -m recbole_tslrec report <name> [--key=value ...]"
    return f"{usage}\n\nreports, each with a --help of its own:\n{reports}\n"
