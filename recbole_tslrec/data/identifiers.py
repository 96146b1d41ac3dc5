"""What stands for a user or an item in a file, as the token that RecBole will read."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recbole_tslrec.data.content import SourceError

# what pandas, and so RecBole, takes for nothing
MISSING = frozenset((
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA",
    "NULL", "NaN", "NaT", "None", "n/a", "nan", "null",
))  # fmt: skip


@dataclass(frozen=True)
class Column:
    """Where values stand, for messages.

    Attributes:
        path: the file.
        name: the column's, or its number.
        unit: what is counted: ``line``, or ``row`` where a file has no lines.
    """

    path: Any
    name: str
    unit: str = "line"

    def __str__(self) -> str:
        return f"{self.path}, column [{self.name}]"

    def error(self, bad: pd.Series, what: str, cure: str) -> SourceError:
        """An error about some values, indexed by line: how many, the first of them, and what to do."""
        count = f"; {len(bad):,} {self.unit}s are like that" if len(bad) > 1 else ""
        return SourceError(
            f"{self.path}, {self.unit} {bad.index[0]}: column [{self.name}] {what}: [{bad.iloc[0]}]{count}; {cure}"
        )


def is_missing(values: pd.Series) -> NDArray[np.bool_]:
    """Whether there is no value, or a word that says so."""
    if values.dtype.kind in "iufM" or isinstance(values.dtype, pd.DatetimeTZDtype):
        return np.asarray(values.isna())
    codes, distinct = pd.factorize(values)
    of_code = np.array([*(str(value).strip() in MISSING for value in distinct), True])
    return np.asarray(of_code[codes])


def read_ids(values: pd.Series, column: Column) -> tuple[pd.Series, list[str]]:
    """Tokens as text, without what would make two of one or what RecBole could not read.

    Args:
        values: what the file has, indexed by line.
        column: where it stands.

    Returns:
        The tokens, and a phrase for each kind of change.

    Raises:
        SourceError: one is missing, is no text, or goes over lines; named with its line.
    """
    missing = is_missing(values)
    if missing.any():
        raise column.error(values[missing], "has no id", "an interaction has a user and an item; delete what has not")
    codes, distinct = pd.factorize(values)
    texts = [_text(value) for value in distinct]
    for code, text in enumerate(texts):
        if text is None or any(mark in text.strip() for mark in "\t\n\r"):
            why = "is neither text nor a whole number" if text is None else "has a tab or a line end inside"
            raise column.error(values[codes == code], why, "write ids as plain text")
    plain, changes = _plain([str(text) for text in texts])
    return pd.Series(np.array(plain, dtype=object)[codes], values.index), changes


def _text(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, (float, np.floating)):  # whole numbers in a column that once had gaps
        return str(int(value)) if float(value).is_integer() else None
    return value.decode() if isinstance(value, bytes) else None


def _plain(texts: list[str]) -> tuple[list[str], list[str]]:
    changes = []
    stripped = [text.strip() for text in texts]
    if count := sum(a != b for a, b in zip(texts, stripped, strict=True)):
        changes.append(f"blanks around {count:,} of them removed")
    if all(len(text) > 2 and text[0] == text[-1] == '"' for text in stripped):
        return [text[1:-1].strip() for text in stripped], [*changes, "the double quotes around each removed"]
    # RecBole would take a double quote at the beginning for that of a field that goes over lines
    safe = [f"'{text[1:]}" if text.startswith('"') else text for text in stripped]
    if count := sum(a != b for a, b in zip(safe, stripped, strict=True)):
        if len(set(safe)) < len(set(stripped)):
            return stripped, changes  # two would become one; the importer reads back what it writes
        changes.append(f"the double quote at the beginning of {count:,} of them is now a single one")
    return safe, changes
