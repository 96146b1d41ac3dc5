"""One process at a time, whatever became of the others."""

import errno
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from recbole_tslrec.store import locks
from recbole_tslrec.store.locks import locked

HOLD = """
import sys
from pathlib import Path
from recbole_tslrec.store.locks import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    return tmp_path / "table.lock"


@pytest.fixture
def holder(lock: Path) -> "Iterator[subprocess.Popen[str]]":
    """A process that holds the lock until its input is closed."""
    command = [sys.executable, "-c", HOLD, str(lock)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process


def test_who_waits_says_for_what(lock: Path, holder: "subprocess.Popen[str]", monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []

    class Log:
        def info(self, message: str) -> None:
            """Only now may the other process end."""
            said.append(message)
            assert holder.stdin is not None
            holder.stdin.close()

    monkeypatch.setattr(locks, "_SECONDS_OF_SILENCE", 0.1)
    monkeypatch.setattr(locks, "getLogger", Log)
    with locked(lock):
        assert len(said) == 1
        assert f"waiting for another process, which holds {lock}" in said[0]


def test_the_lock_of_a_killed_process_is_free(
    lock: Path, holder: "subprocess.Popen[str]", caplog: pytest.LogCaptureFixture
) -> None:
    holder.kill()
    holder.wait()
    with caplog.at_level(logging.INFO), locked(lock):
        assert "waiting" not in caplog.text


def test_a_disk_without_locks_ends_in_a_sentence(lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    message = r"table\.lock cannot be locked \(No locks available\).*choose a folder on another disk"
    with pytest.raises(OSError, match=message), locked(lock):
        raise AssertionError("not held")
