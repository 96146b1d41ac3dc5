"""A few faults of every kind; ``python -m tests.faults`` tries them at length."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_fault_is_survived() -> None:
    """In a process of its own, which forks: the threads of another library would not survive that."""
    paths = f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    command = [sys.executable, "-m", "tests.faults", "--faults=21", "--seed=0"]
    ended = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, timeout=900
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.split()[-3:] == ["all", "21", "21"]
