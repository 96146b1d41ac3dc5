"""One process at a time, of all machines that see a folder."""

import errno
import os
import socket
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from logging import getLogger
from pathlib import Path

from filelock import FileLock, Timeout

from recbole_tslrec.store.files import beside

_SECONDS_OF_SILENCE = 2.0
_NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock, which ends with the process, however that ends; who has to wait for it says so.

    Args:
        path: of the lock file. Where the file system has no locks, the file itself is the lock: one that a dead process
            of this machine has left is taken over. That of another machine's process is not: whether it is dead cannot
            be told from here.

    Raises:
        OSError: the file system has neither.
    """
    lock = FileLock(path)
    try:
        _acquire(lock, path)
    except OSError as error:
        if error.errno in _NOT_WRITABLE:
            raise PermissionError(
                error.errno,
                f"{path.parent} cannot be written to; choose a folder of your own in its place",
            ) from error
        raise OSError(
            error.errno,
            f"{path} cannot be locked ({error.strerror or error}), so that two processes could write there at once; "
            "choose a folder on another disk",
        ) from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def locked_on_all_machines(path: Path) -> Iterator[Callable[[], None]]:
    """Hold a lock, and find out whether it was held against other machines too.

    On some file systems (NFS mounted with ``nolock``, Lustre with ``localflock``) a lock is granted without any effect
    on other machines. So who holds it leaves a name, and looks for it before what was written is put into place.

    Args:
        path: of the lock file.

    Yields:
        A function that takes the name away, and raises OSError where it is another's or gone.

    Raises:
        OSError: see :func:`locked`.
    """
    name, own = beside(path, "owner"), f"{socket.gethostname()} {os.getpid()} {uuid.uuid4()}"

    def end() -> None:
        found = name.read_text(encoding="utf-8") if name.exists() else ""
        if found != own:
            other = f"a process of {found.split()[0]}" if found else "another process"
            raise OSError(
                f"{other} has written there while this one held {path}: the locks of that file system do not reach "
                "other machines; let one machine at a time work in that folder, or mount it with locks"
            )
        name.unlink()

    with locked(path):
        name.write_text(own, encoding="utf-8")
        yield end


def _acquire(lock: FileLock, path: Path) -> None:
    try:
        lock.acquire(timeout=_SECONDS_OF_SILENCE)
    except Timeout:
        getLogger().info(f"waiting for another process, which holds {path}; if none runs any more, delete that file")
        lock.acquire()
