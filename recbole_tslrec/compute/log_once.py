"""What is logged once in a process, however often it is found."""

import functools
import logging


@functools.cache
def log_once(message: str, level: int = logging.WARNING) -> None:
    """Log a message, unless this process has logged it before."""
    logging.getLogger().log(level, message)
