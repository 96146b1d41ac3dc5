"""Children of a parent that was killed."""

import os
import signal
import subprocess
import sys
import time

import pytest

CHILD = "from recbole_tslrec.compute.lifeline import end_with_parent; end_with_parent(); print(); input()"
PARENT = f"""
import os, subprocess, sys, time
from recbole_tslrec.compute.lifeline import Lifeline
child = subprocess.Popen([sys.executable, "-c", {CHILD!r}], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                         **Lifeline().options(os.environ))
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(60)
"""


def is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{process}/stat") as stat:
        return stat.read().split()[2] != "Z"  # nobody may be there to ask for its end


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_child_ends_when_its_parent_was_killed() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert is_running(child)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    deadline = time.monotonic() + 30
    while is_running(child):
        assert time.monotonic() < deadline
        time.sleep(0.01)
