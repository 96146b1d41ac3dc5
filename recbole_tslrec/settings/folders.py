"""Whether a folder can be written to, known before anything is computed."""

import tempfile
from pathlib import Path

from recbole_tslrec.settings.base import ConfigError


def check_writable(folder: Path, what: str, cure: str) -> None:
    """Refuse a folder in which no file can be made; where it does not exist, the folder in which it would be made.

    Args:
        folder: the folder.
        what: is to be written there, such as ``artifacts``.
        cure: what to do.

    Raises:
        ConfigError: names the folder, the reason and the cure.
    """
    existing = folder.absolute()
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        raise ConfigError(f"{what} cannot be written to {folder} ({error.strerror} at {existing}); {cure}") from error
