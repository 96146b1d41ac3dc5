"""One process at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from logging import getLogger
from pathlib import Path

from filelock import FileLock, Timeout

_SECONDS_OF_SILENCE = 2.0


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock, which ends with the process, however that ends; who has to wait for it says so.

    Args:
        path: of the lock file. Where the file system has no locks, the file itself is the lock: one that a dead process
            of this machine has left is taken over.

    Raises:
        OSError: the file system has neither.
    """
    lock = FileLock(path)
    try:
        _acquire(lock, path)
    except OSError as error:
        raise OSError(
            error.errno,
            f"{path} cannot be locked ({error.strerror or error}), so that two processes could write there at once; "
            "choose a folder on another disk",
        ) from error
    try:
        yield
    finally:
        lock.release()


def _acquire(lock: FileLock, path: Path) -> None:
    try:
        lock.acquire(timeout=_SECONDS_OF_SILENCE)
    except Timeout:
        getLogger().info(f"waiting for another process, which holds {path}; if none runs any more, delete that file")
        lock.acquire()
