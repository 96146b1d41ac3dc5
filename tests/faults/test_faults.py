"""Kills at every place in the code, and some faults of every kind; ``python -m tests.faults`` tries them at length."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "which", [["--faults=21", "--seed=0"], ["--kill-at=places"]], ids=["every kind", "every place"]
)
def test_every_fault_is_survived(which: list[str]) -> None:
    """In a process of its own, which forks: the threads of another library would not survive that."""
    paths = f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    command = [sys.executable, "-m", "tests.faults", *which]
    ended = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, timeout=1800
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    end, tried, survived = ended.stdout.split()[-3:]
    assert end == "all"
    assert int(tried) == int(survived) > 20
