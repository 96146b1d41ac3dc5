"""What the yaml files say of each key that this package adds, for ``--help``; they are the only place that says it."""

import re
import shutil
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

from recbole_tslrec.configuration.properties import properties_folder

RECBOLES_KEYS = "https://recbole.io/docs/user_guide/config_settings.html"
_FILES = ("overall", "llm/scratch")
_KEY = re.compile(r"(?P<name>\w+): +(?P<default>.*?) +# \((?P<type>[^)]*)\) (?P<meaning>.*)")


@dataclass(frozen=True)
class DocumentedKey:
    """A line ``name: default  # (type) meaning`` of a yaml file.

    Attributes:
        section: the comment line above its paragraph.
        default: as the file writes it; ``~`` is None.
    """

    section: str
    name: str
    default: str
    type: str
    meaning: str


def documented_keys() -> Iterator[DocumentedKey]:
    """Every key that this package adds to RecBole's, but for those of single models, in the order of the files."""
    for file in _FILES:
        section, above = f"properties/{file}.yaml", "not empty: what a file begins with is about the whole of it"
        for line in (properties_folder() / f"{file}.yaml").read_text(encoding="utf-8").splitlines():
            key = _KEY.fullmatch(line)
            if key:
                yield DocumentedKey(section, **key.groupdict())
            elif line.startswith("#") and not above:
                section = line.removeprefix("# ")
            above = line


def where_documented() -> str:
    """A sentence about where a reader finds all keys: a file of this package, and a page of RecBole's."""
    return f"This package's are described in {properties_folder() / 'overall.yaml'}, RecBole's at {RECBOLES_KEYS}"


def listing() -> str:
    """All documented keys, as wide as the terminal."""
    width = min(shutil.get_terminal_size().columns, 120) - 2
    section, lines = "", []
    for key in documented_keys():
        if key.section != section:
            section = key.section
            lines += ["", textwrap.fill(section, width)]
        lines.append(f"  --{key.name}={'None' if key.default == '~' else key.default}")
        about = f"({key.type}) {key.meaning}"
        lines.append(textwrap.fill(about, width, initial_indent=" " * 6, subsequent_indent=" " * 6))
    return "\n".join(["keys of the configuration, each with its default (None is ~ in a yaml file):", *lines])
