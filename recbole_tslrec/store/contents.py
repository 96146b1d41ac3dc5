"""Identity by content: hashes of files that others wrote, kept by path, size and time of the last change."""

import json
from collections.abc import Iterable
from contextlib import suppress
from logging import getLogger
from pathlib import Path
from typing import Any

from recbole_tslrec.store.files import beside, hash_file, hash_text, read_json, write_json
from recbole_tslrec.store.locks import locked

_FILE = "content_hashes.json"
_LARGE = 2**30  # bytes; hashing more takes seconds, so it is said


class ContentHashes:
    """SHA-256 of files, computed once for each version of a file.

    A file is taken to be unchanged where its size and its time of change, to the nanosecond, are the same.

    Args:
        folder: where the hashes are kept, in ``content_hashes.json``; it is made when the first is.
    """

    def __init__(self, folder: str | Path) -> None:
        self.path = Path(folder) / _FILE

    def of(self, file: Path) -> str:
        """The hash of one file's contents.

        Raises:
            OSError: it cannot be read.
        """
        status = file.stat()
        key, version = str(file.resolve()), [status.st_size, status.st_mtime_ns]
        known = self._read().get(key)
        if known and known[:2] == version:
            return str(known[2])
        if status.st_size > _LARGE:
            getLogger().info(f"hashing {file} ({status.st_size / 2**30:.1f} GiB), once")
        digest = hash_file(file)
        with suppress(PermissionError):  # what lies where nobody may write is hashed each time
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with locked(beside(self.path, "lock")):  # the processes of a run come here together
                write_json(self.path, {**self._read(), key: [*version, digest]})
        return digest

    def of_all(self, folder: Path, files: Iterable[Path]) -> str:
        """One hash of several files below a folder, their names included."""
        found = {file.relative_to(folder).as_posix(): self.of(file) for file in sorted(files)}
        return hash_text(json.dumps(found, sort_keys=True))

    def _read(self) -> dict[str, list[Any]]:
        """What is kept: size, time of change and hash by path. What is damaged counts for nothing."""
        try:
            found = read_json(self.path)
        except (OSError, ValueError):
            return {}
        entries = found.items() if isinstance(found, dict) else ()
        return {path: entry for path, entry in entries if isinstance(entry, list) and len(entry) == 3}
