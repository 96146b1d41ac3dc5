"""Processes that stand in for runs."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from recbole_tslrec.experiments.jobs import Job

# writes what a run writes; notes when it began and ended
_SCRIPT = """
import json, os, pathlib, sys, time
result, events, name = sys.argv[1:]
threads = os.environ.get("OMP_NUM_THREADS")
with open(events, "a") as file: file.write(json.dumps(["start", name, threads]) + chr(10))
time.sleep(0.3)
if "CI" in name: sys.exit("some trace" + chr(10) + "error: out of luck")
pathlib.Path("evaluation").mkdir(exist_ok=True)
row = name.split("-")[1]
stage = {"stage": "evaluation", "row": row, "folder": "evaluation", "built_in_seconds": 1.0}
pathlib.Path(result).write_text(json.dumps({"stages": [stage]}))
with open(events, "a") as file: file.write(json.dumps(["end", name, ""]) + chr(10))
"""


def stand_in(folder: Path) -> Callable[[Job, Path], list[str]]:
    """In the place of ``command_line``: processes that note in a folder what they do."""
    return lambda job, result: [sys.executable, "-c", _SCRIPT, str(result), str(_events(folder)), job.trial.name]


def noted(folder: Path) -> list[list[Any]]:
    """What they have noted, in order: ``start`` or ``end``, the trial's name, the threads that it was given."""
    file = _events(folder)
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def _events(folder: Path) -> Path:
    return folder / "events.jsonl"
