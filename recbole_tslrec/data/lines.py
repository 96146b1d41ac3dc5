"""The lines of a text: how many, the first ones, and all of them in blocks."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recbole_tslrec.data.content import SourceError, open_bytes, open_text

LOOKED_AT = 200  # lines by which the form of a file is recognised
DEEPEST = 5_000  # lists or objects inside each other
_BLOCK = 8 << 20  # bytes


def first_lines(path: Path, encoding: str | None = None) -> list[str]:
    """The first lines that are not blank, at most :data:`LOOKED_AT`, without their ends."""
    with open_text(path, encoding) as file:
        return list(islice((line.rstrip("\n") for line in file if line.strip()), LOOKED_AT))


def blocks(path: Path) -> Iterator[bytes]:
    """The whole file in blocks of whole lines, as UTF-8."""
    rest = b""
    with open_bytes(path) as file:
        while data := file.read(_BLOCK):
            end = data.rfind(b"\n") + 1
            if end:
                yield rest + data[:end]
                rest = data[end:]
            else:
                rest += data
    if rest:
        yield rest


def is_blank(block: bytes) -> list[bool]:
    """Whether each line of a block holds nothing but white space."""
    return [not line.strip() for line in block.removesuffix(b"\n").split(b"\n")]


def has_blank(block: bytes) -> bool:
    """Whether any does; much quicker where none ends in white space."""
    ends = (b"\n\n", b" \n", b"\t\n", b"\v\n", b"\f\n")
    return block.startswith(b"\n") or (any(end in block for end in ends) and any(is_blank(block)))


def without_blank(block: bytes) -> tuple[bytes, NDArray[np.int64]]:
    """The lines of a block that are not blank, and their places among all of it."""
    if not has_blank(block):
        return block, np.arange(block.removesuffix(b"\n").count(b"\n") + 1)
    filled = ~np.array(is_blank(block))
    lines = block.removesuffix(b"\n").split(b"\n")
    return b"\n".join(line for line, keep in zip(lines, filled, strict=True) if keep), np.flatnonzero(filled)


def check_nesting(path: Path) -> None:
    """Refuse JSON that would overflow the stack of pyarrow's parser, which ends the process.

    Raises:
        SourceError: a line has more than :data:`DEEPEST` lists or objects inside each other, or as many brackets.
    """
    line = 1
    for block in blocks(path):
        for text in block.removesuffix(b"\n").split(b"\n"):
            if max(text.count(b"["), text.count(b"{")) > DEEPEST:
                raise SourceError(
                    f"{path}, line {line} has more than {DEEPEST:,} brackets, which may be lists inside each other; "
                    "write one list of numbers for each item"
                )
            line += 1


def count_lines(path: Path) -> tuple[int, int]:
    """All lines, and how many of them are blank."""
    total = blank = 0
    for block in blocks(path):
        total += block.removesuffix(b"\n").count(b"\n") + 1
        blank += sum(is_blank(block)) if has_blank(block) else 0
    return total, blank
