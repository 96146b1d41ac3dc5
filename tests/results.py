"""Results of runs as a report reads them, written by hand."""

from collections.abc import Mapping
from typing import Any


def stages_of(folders: Mapping[str, str], seconds: Mapping[str, float] | None = None) -> list[dict[str, Any]]:
    """The ``stages`` of a result: folders and seconds by stage, such as ``backbone`` or ``evaluation of Base``."""
    found = []
    for name, folder in folders.items():
        stage, _, row = name.partition(" of ")
        taken = (seconds or {}).get(name, 0.0)
        found.append({"stage": stage, "row": row, "state": "built", "seconds": taken, "built_in_seconds": taken})
        found[-1]["folder"] = folder
    return found
