"""One process at a time, whatever became of the others."""

import errno
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from recbole_tslrec.store import locks
from recbole_tslrec.store.locks import locked

HOLD = """
import sys, time
from pathlib import Path
from recbole_tslrec.store.locks import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    return tmp_path / "table.lock"


def holder(lock: Path, seconds: float) -> "subprocess.Popen[str]":
    """A process that holds the lock."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(lock), str(seconds)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_who_waits_says_for_what(lock: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(locks, "_SECONDS_OF_SILENCE", 0.1)
    process = holder(lock, 1.0)
    started = time.monotonic()
    with caplog.at_level(logging.INFO), locked(lock):
        assert process.wait() == 0
        assert time.monotonic() - started > 0.1
    assert f"waiting for another process, which holds {lock}" in caplog.text


def test_the_lock_of_a_killed_process_is_free(lock: Path, caplog: pytest.LogCaptureFixture) -> None:
    process = holder(lock, 60.0)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    with caplog.at_level(logging.INFO), locked(lock):
        assert "waiting" not in caplog.text


def test_a_disk_without_locks_ends_in_a_sentence(lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    message = r"table\.lock cannot be locked \(No locks available\).*choose a folder on another disk"
    with pytest.raises(OSError, match=message), locked(lock):
        raise AssertionError("not held")
