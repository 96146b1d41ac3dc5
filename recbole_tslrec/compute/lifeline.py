"""Processes that end with the one that started them, even where that was killed and could not tell them.

The parent holds one end of a pipe and writes nothing; its children read the other end, and when it closes the parent is
gone. On systems without such pipes children end by themselves.
"""

import os
import threading
from collections.abc import Mapping
from typing import Any

_KEY = "RECBOLE_TSLREC_LIFELINE"


class Lifeline:
    """What a parent gives to its children."""

    def __init__(self) -> None:
        self._ends = os.pipe()  # neither is inherited unless it is passed on

    def options(self, environment: Mapping[str, str]) -> dict[str, Any]:
        """The options of ``subprocess.Popen`` for a child that calls :func:`end_with_parent`."""
        if os.name != "posix":
            return {"env": dict(environment)}
        return {"env": {**environment, _KEY: str(self._ends[0])}, "pass_fds": self._ends[:1]}

    def close(self) -> None:
        """Let go; children that still run end."""
        for end in self._ends:
            os.close(end)


def end_with_parent() -> None:
    """End this process when the one that gave it a :class:`Lifeline` is gone; without one nothing happens."""
    given = os.environ.pop(_KEY, None)
    if given is not None:
        threading.Thread(target=_wait, args=(int(given),), daemon=True).start()


def _wait(end: int) -> None:
    os.read(end, 1)
    os._exit(1)
