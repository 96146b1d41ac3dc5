"""What a process changes on the disk, counted, so that something can happen before the change of a number."""

import builtins
import errno
import io
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn
from unittest import mock

import torch

from recbole_tslrec.store import files

Fault = Callable[[], NoReturn]


class Killed(BaseException):
    """Stands for a signal: nothing in the package catches it."""


def die() -> NoReturn:
    """Stop as ``kill -9`` stops a process."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("unreachable")


def stop() -> NoReturn:
    """Stop, and leave the process alive."""
    raise Killed


def fill_up() -> NoReturn:
    """A disk without room."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class Disk:
    """The changes of this process below a folder.

    Attributes:
        changes: how many there were.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)
        self.changes = 0
        self._before, self._fault = -1, stop

    @contextmanager
    def watched(self, before: int = -1, fault: Fault = stop) -> Iterator["Disk"]:
        """Count; before the change of a number, from 0, a fault happens."""
        self.changes, self._before, self._fault = 0, before, fault
        with mock.patch.multiple(os, **{name: self._counted(getattr(os, name)) for name in _CHANGES}):
            opened = mock.Mock(side_effect=self._opened(io.open))
            with mock.patch.object(io, "open", opened), mock.patch.object(builtins, "open", opened):
                saved = self._counted(files.save_file, place=1), self._counted(torch.save, place=1)
                with mock.patch.object(files, "save_file", saved[0]), mock.patch.object(torch, "save", saved[1]):
                    yield self

    def _counted(self, change: Callable[..., Any], place: int = 0) -> Callable[..., Any]:
        def counted(*args: Any, **kwargs: Any) -> Any:
            self._count(args[place], "dir_fd" in kwargs)
            return change(*args, **kwargs)

        return counted

    def _opened(self, opened: Callable[..., Any]) -> Callable[..., Any]:
        def counted(file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
            if not {"w", "a", "+", "x"}.isdisjoint(mode):
                self._count(file, False)
            return opened(file, mode, *args, **kwargs)

        return counted

    def _count(self, path: Any, is_relative: bool) -> None:
        """A change, if it is below the folder; what has no path of its own is (files that are synced or deleted)."""
        own = is_relative or isinstance(path, int) or os.path.abspath(os.fsdecode(path)).startswith(self.folder)
        if not own:
            return
        if self.changes == self._before:
            self._fault()
        self.changes += 1


_CHANGES = ("replace", "rename", "unlink", "rmdir", "mkdir", "link", "fsync")
