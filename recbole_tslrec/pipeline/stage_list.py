"""How far a run is, for who watches it in a terminal: its stages as a list, before each one that is built."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from recbole_tslrec.compute import distributed

TO_DO, RUNNING, REUSED = "to do", "running", "reused"


def shows_progress(config: Any, stream: TextIO | None = None) -> bool:
    """Whether bars and lists are shown: where that is asked for, on a terminal, by the main process.

    Args:
        config: ``show_progress`` counts.
        stream: where they go, stderr if ``None``.
    """
    stream = stream or sys.stderr
    return bool(config["show_progress"]) and stream.isatty() and distributed.is_main()


def done(seconds: float) -> str:
    """The state of a stage that was built in this run."""
    return f"done in {seconds:.1f} s"


def stage_list(names: Sequence[str], states: Mapping[str, str]) -> str:
    """A line for each stage, with its state.

    Args:
        names: the stages of the run, in order.
        states: of those that have begun; the others are to do.
    """
    width = max(map(len, names), default=0)
    lines = [f"  {name:<{width}}  {states.get(name, TO_DO)}" for name in names]
    return "\n".join(["stages:", *lines]) + "\n"
