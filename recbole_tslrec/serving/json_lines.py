"""Files of JSON lines, one object a line, read one by one."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def read_json_lines(path: Path, form: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a file, each with the number of its line, the first 1; blank lines count for nothing.

    Args:
        path: the file.
        form: what a line should look like, for errors.

    Raises:
        ValueError: there is no such file, or a line holds no JSON object; says which.
    """
    if not path.is_file():
        raise ValueError(f"{path} does not exist; give a file with lines such as {form}")
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                try:
                    value = json.loads(line)
                except json.JSONDecodeError:
                    value = None
                if not isinstance(value, dict):
                    raise malformed_line(path, number, form)
                yield number, value


def malformed_line(path: Path, number: int, form: str) -> ValueError:
    """What to raise for a line that is not of the wanted form."""
    return ValueError(f"{path}, line {number} is not of the form {form}")
