"""One process at a time, whatever became of the others."""

import errno
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from recbole_tslrec.store import locks
from recbole_tslrec.store.locks import locked, locked_on_all_machines

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


def test_a_read_only_file_system_is_named(lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.raises(PermissionError, match=f"{lock.parent} cannot be written to"), locked(lock):
        raise AssertionError("not held")


# on a folder that several machines share


@pytest.fixture
def no_flock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system whose files cannot be locked."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", refuse)
    monkeypatch.setattr(locks, "_SECONDS_OF_SILENCE", 0.5)


@pytest.fixture
def dead(lock: Path) -> int:
    """The number of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    return process.pid


@pytest.mark.usefixtures("no_flock")
@pytest.mark.filterwarnings("ignore:flock not supported")
def test_without_locks_the_file_of_a_dead_process_is_taken_over(
    lock: Path, dead: int, caplog: pytest.LogCaptureFixture
) -> None:
    with locked(lock):
        _, host, *_ = lock.read_text().splitlines()
    lock.write_text(f"{dead}\n{host}\n")
    with caplog.at_level(logging.INFO), locked(lock):
        assert "waiting" not in caplog.text


@pytest.mark.usefixtures("no_flock")
@pytest.mark.filterwarnings("ignore:flock not supported")
def test_without_locks_the_file_of_another_machine_is_left_though_its_process_is_none_here(
    lock: Path, dead: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Log:
        def info(self, message: str) -> None:
            assert lock.read_text() == theirs
            lock.unlink()  # what the message says, where none runs any more

    monkeypatch.setattr(locks, "getLogger", Log)
    theirs = f"{dead}\nanother-machine\n"
    lock.write_text(theirs)
    with locked(lock):
        assert lock.read_text() != theirs


def test_a_lock_that_another_machine_was_granted_too_is_found_out(lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fcntl.flock", lambda *_: None)  # each machine grants its own locks
    with locked_on_all_machines(lock) as end:
        with locked_on_all_machines(lock) as end_theirs:
            with pytest.raises(OSError, match=r"a process of \S+ has written there while this one held .*table\.lock"):
                end()
            end_theirs()
        with pytest.raises(OSError, match=r"another process has written there.*do not reach other machines"):
            end()


def test_a_lock_that_was_held_alone_leaves_no_name(lock: Path) -> None:
    for _ in range(2):
        with locked_on_all_machines(lock) as end:
            end()
    assert [path.name for path in lock.parent.iterdir()] == [lock.name]
