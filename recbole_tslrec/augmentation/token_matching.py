"""Rows of a file and the items of a dataset, matched by token."""

import re
from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import dataclass

from recbole_tslrec.data.delimited import unquoted

# how one token comes to be written in two ways, in the order in which they are looked for
_SPELLINGS: dict[str, Callable[[str], str]] = {
    "blanks around it": str.strip,
    "a decimal point, as pandas writes whole numbers of a column that once had gaps": (
        lambda token: re.sub(r"^(-?\d+)\.0+$", r"\1", token.strip())
    ),
    "double quotes": lambda token: unquoted(token.strip()).strip('"').strip(),
}
_Number = tuple[str, int]  # what stands before a number, and the number
_FAR_MORE = 0.25  # of the items: a shift that matches as many more is no accident


@dataclass(frozen=True)
class Respelling:
    """A way in which tokens of rows are written that is not the dataset's.

    Attributes:
        spell: takes the difference away.
        note: a phrase about it.
    """

    spell: Callable[[str], str]
    note: str


def match_tokens(tokens: Sequence[str], items: Sequence[str]) -> tuple[list[int], list[Respelling]]:
    """Find the row of each item; where none has the item's own token, one whose token is the same but for its spelling.

    Args:
        tokens: those of the rows, no two alike.
        items: those of a dataset.

    Returns:
        For each item the number of its row, or -1; and the spellings that are not the dataset's.
    """
    row_of = {token: row for row, token in enumerate(tokens)}
    rows = [row_of.get(item, -1) for item in items]
    respellings = []
    for difference, spell in _SPELLINGS.items():
        used = set(rows)
        free = _unambiguous((spell(token), row) for row, token in enumerate(tokens) if row not in used)
        missing = _unambiguous((spell(item), place) for place, item in enumerate(items) if rows[place] < 0)
        found = [(place, free[name]) for name, place in missing.items() if name in free]
        for place, row in found:
            rows[place] = row
        if found:
            place, row = found[0]
            note = (
                f"{len(found):,} item tokens differ from the dataset's by {difference}, such as {tokens[row]!r} for "
                f"{items[place]!r}; they are taken for the same"
            )
            respellings.append(Respelling(spell, note))
    return rows, respellings


def _unambiguous(pairs: Iterable[tuple[str, int]]) -> dict[str, int]:
    """Names and what they stand for, without names of more than one thing."""
    found: dict[str, int] = {}
    twice = set()
    for name, one in pairs:
        if name in found:
            twice.add(name)
        found[name] = one
    return {name: one for name, one in found.items() if name not in twice}


def off_by_one(tokens: Sequence[str], items: Sequence[str]) -> str:
    """How tokens of rows look as if some were one too high or too low; empty where they do not.

    Args:
        tokens: those of the rows.
        items: those of a dataset: numbers, or a word with a number behind it.
    """
    named, wanted_named = _numbers(tokens), _numbers(items)
    numbers, wanted = named.keys(), wanted_named.keys()
    missing, extra = wanted - numbers, numbers - wanted
    if len(wanted) < len(items) or not numbers or not missing:
        return ""
    for by, word in ((1, "high"), (-1, "low")):
        shifted = sum((prefix, number + by) in numbers for prefix, number in wanted)
        if shifted - (len(wanted) - len(missing)) >= _FAR_MORE * len(wanted):
            return f"{shifted:,} of {len(items):,} items would have a vector if its numbers were not one too {word}"
        if extra and (_is_block(missing, extra, numbers, wanted, by) or _are_counted(missing, extra, numbers, by)):
            return (
                f"some or all of its numbers look as if they were one too {word}: {named[min(extra)]!r} is that of no "
                f"item, and none is that of {wanted_named[min(missing)]!r}"
            )
    return ""


def _is_block(missing: Set[_Number], extra: Set[_Number], numbers: Set[_Number], wanted: Set[_Number], by: int) -> bool:
    """Whether what is missing and what is too much are the ends of a shifted block, or of its parts between gaps."""
    return (
        len(extra) == len(missing)
        and all((prefix, number - by) in wanted for prefix, number in extra)
        and all((prefix, number + by) in numbers for prefix, number in missing)
    )


def _are_counted(missing: Set[_Number], extra: Set[_Number], numbers: Set[_Number], by: int) -> bool:
    """Whether numbers without gaps end one before the only item that is missing, and begin before all items."""
    first, last = (min(numbers), max(numbers)) if by < 0 else (max(numbers), min(numbers))
    return (
        first in extra
        and missing == {(last[0], last[1] - by)}
        and first[0] == last[0]
        and abs(last[1] - first[1]) + 1 == len(numbers)
    )


def _numbers(tokens: Sequence[str]) -> dict[_Number, str]:
    """Tokens by what stands before the number at their end, and the number."""
    matches = (re.fullmatch(r"(.*?)(\d{1,18})", token) for token in tokens)
    return {(match[1], int(match[2])): match[0] for match in matches if match}
