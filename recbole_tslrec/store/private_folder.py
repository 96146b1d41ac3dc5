"""A folder whose files nobody else can have written, for what is unpickled again by a library that we use."""

import grp
import os
import pwd
import stat
from pathlib import Path

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def private_folder(folder: Path) -> Path:
    """Make a folder that this user alone can read and write, or find the one that was made so.

    Its parents matter as well: who may write to one of them could put another folder into its place. A sticky one
    (``/tmp``) does not let them.

    Raises:
        PermissionError: it is another user's or open to others, or others could exchange it.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    if not os.path.lexists(folder):
        folder.mkdir(mode=0o700)
    status = folder.lstat()  # a link could be turned elsewhere
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o077:
        raise PermissionError(
            f"{folder} holds pickles and must be a folder that you alone can read and write; delete it, so that it is "
            "made anew"
        )
    for parent in folder.resolve().parents:
        if _others_can_exchange(parent.stat()):
            raise PermissionError(
                f"{folder} holds pickles, but other users may write to {parent}, so that they could replace it; run "
                f"chmod go-w (or chmod +t) {parent}, or choose another folder"
            )
    return folder


def _others_can_exchange(status: os.stat_result) -> bool:
    writers = status.st_mode & _OTHERS_WRITE
    if writers == stat.S_IWGRP and _is_own_group(status.st_gid):
        return False
    return bool(writers) and not status.st_mode & stat.S_ISVTX


def _is_own_group(group: int) -> bool:
    """Whether a group is the one that systems make for each user, of the same name and without other members."""
    try:
        user, found = pwd.getpwuid(os.geteuid()), grp.getgrgid(group)
    except KeyError:
        return False
    return group == user.pw_gid and found.gr_name == user.pw_name and not set(found.gr_mem) - {user.pw_name}
