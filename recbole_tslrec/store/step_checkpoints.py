"""Step checkpoints: what an interrupted training goes on from, and its best weights with it.

Each is a folder that is renamed into place when it is whole, with a hash of every file. Two are kept: where the newer
one was damaged, the older one serves. Others are removed when one is written, not before.
"""

import shutil
import time
from collections.abc import Mapping
from logging import getLogger
from pathlib import Path
from typing import Any

from recbole_tslrec.store.files import beside, is_whole, replace_folder, seal_folder, write_json

STEP_CHECKPOINTS, PROGRESS = "steps", "progress.json"
SECONDS_BETWEEN = 240.0  # at most five minutes are lost, which leaves room for a slow disk
_BEST = "best"
_KEPT = 2


class Clock:
    """Says when the next step checkpoint is due."""

    def __init__(self) -> None:
        self.saved_at = time.monotonic()

    def is_due(self) -> bool:
        """Whether four minutes have passed since the last one."""
        return time.monotonic() - self.saved_at > SECONDS_BETWEEN

    def restart(self) -> None:
        """One was written."""
        self.saved_at = time.monotonic()


def begin_step_checkpoint(folder: Path, steps_done: int) -> Path:
    """An empty folder to write the state into, for :func:`finish_step_checkpoint`."""
    partial = partial_checkpoint(folder, steps_done)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    return partial


def partial_checkpoint(folder: Path, steps_done: int) -> Path:
    """Where :func:`begin_step_checkpoint` makes its folder."""
    return beside(_folder(folder, steps_done), "partial")


def finish_step_checkpoint(folder: Path, steps_done: int, progress: Mapping[str, Any], best: Path) -> None:
    """Put the state that was written into place, with the best weights so far.

    Args:
        folder: of the training.
        steps_done: the steps behind it.
        progress: how far it is, as JSON.
        best: the file or folder of the best weights; it may not be there yet.
    """
    partial = partial_checkpoint(folder, steps_done)
    write_json(partial / PROGRESS, progress)
    if best.exists():
        _copy(best, partial / _BEST)
    seal_folder(partial)
    written = _folder(folder, steps_done)
    replace_folder(partial, written)
    # those with more steps are of a training that was not gone on with, such as one of another version
    kept = [path for path in _step_checkpoints(folder) if path.name <= written.name][-_KEPT:]
    for path in _step_checkpoints(folder):
        if path not in kept:
            shutil.rmtree(path)


def latest_step_checkpoint(folder: Path) -> Path | None:
    """The newest whole step checkpoint of a training; damaged ones are passed over with a warning."""
    for checkpoint in reversed(_step_checkpoints(folder)):
        if is_whole(checkpoint):
            return checkpoint
        getLogger().warning(f"{checkpoint} differs from its hashes; training goes on from an older one, or starts anew")
    return None


def restore_best(checkpoint: Path, best: Path) -> None:
    """Put the best weights back that a step checkpoint was written with; none, where there were none."""
    if best.is_dir():
        shutil.rmtree(best)
    else:
        best.unlink(missing_ok=True)
    if (checkpoint / _BEST).exists():
        _copy(checkpoint / _BEST, best)


def _copy(source: Path, target: Path) -> None:
    """No link: what damages one of two copies leaves the other."""
    if source.is_dir():
        shutil.copytree(source, target, copy_function=shutil.copyfile)
    else:
        shutil.copyfile(source, target)


def _folder(folder: Path, steps_done: int) -> Path:
    return folder / STEP_CHECKPOINTS / f"{steps_done:09d}"


def _step_checkpoints(folder: Path) -> list[Path]:
    return sorted(path for path in (folder / STEP_CHECKPOINTS).glob("*") if path.name.isdigit())
