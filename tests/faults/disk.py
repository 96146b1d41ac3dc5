"""What a process changes on the disk, counted, so that something can happen before the change of a number."""

import builtins
import errno
import io
import os
import pathlib
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
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
        places: for each, which lines of the package were about it, the innermost first.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)
        self.places: list[str] = []
        self._before, self._fault = -1, stop

    @contextmanager
    def watched(self, before: int = -1, fault: Fault = stop) -> Iterator["Disk"]:
        """Count; before the change of a number, from 0, a fault happens."""
        self.places, self._before, self._fault = [], before, fault
        changes = {name: self._counted(getattr(os, name)) for name in _CHANGES}
        opened = self._opened(io.open)
        with ExitStack() as patches:
            patches.enter_context(mock.patch.multiple(os, **changes))
            for module in (io, builtins):
                patches.enter_context(mock.patch.object(module, "open", opened))
            for module, name in ((files, "save_file"), (torch, "save")):
                saved = self._counted(getattr(module, name), place=1)
                patches.enter_context(mock.patch.object(module, name, saved))
            if hasattr(pathlib, "_NormalAccessor"):  # Python 3.10 keeps functions of its own
                own = {name: staticmethod(change) for name, change in {**changes, "open": opened}.items()}
                del own["fsync"]
                patches.enter_context(mock.patch.multiple(pathlib._NormalAccessor, **own))
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
        self.places.append(_place())

    @property
    def changes(self) -> int:
        """How many there were."""
        return len(self.places)


def _place() -> str:
    """The innermost lines of the package that are running."""
    frame, lines = sys._getframe(2), []
    while frame is not None and len(lines) < _LINES:
        file = frame.f_code.co_filename
        if "recbole_tslrec" in Path(file).parts:
            lines.append(f"{Path(file).stem}:{frame.f_lineno}")
        frame = frame.f_back  # type: ignore[assignment]
    return " < ".join(lines)


_LINES = 3  # so many tell the writing of a checkpoint from that of an artifact
_CHANGES = ("replace", "rename", "unlink", "rmdir", "mkdir", "link", "fsync")
