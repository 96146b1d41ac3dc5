"""Tokens are what the file has, without what would make two of one."""

import numpy as np
import pandas as pd
import pytest

from recbole_tslrec.data.content import SourceError
from recbole_tslrec.data.identifiers import Column, read_ids

COLUMN = Column("given.csv", "who")


def series(*values: object) -> pd.Series:
    return pd.Series(values, range(2, len(values) + 2), dtype=object)


@pytest.mark.parametrize(
    ("values", "tokens"),
    [
        (["u1", "007", "1.50"], ["u1", "007", "1.50"]),
        ([2**63 - 1, np.int32(5), 7.0], ["9223372036854775807", "5", "7"]),
        (["u1", " u1", "u1\u00a0"], ["u1", "u1", "u1"]),
        (['"u1"', '"u2"'], ["u1", "u2"]),
        (['"u1', 'say "u2"'], ["'u1", 'say "u2"']),
    ],
)
def test_ids_become_tokens(values: list[object], tokens: list[str]) -> None:
    assert read_ids(series(*values), COLUMN)[0].tolist() == tokens


def test_changes_are_told() -> None:
    assert read_ids(series("u1", " u1", '"u2'), COLUMN)[1] == [
        "blanks around 1 of them removed",
        "the double quote at the beginning of 1 of them is now a single one",
    ]


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ("", "has no id"),
        (" ", "has no id"),
        ("NULL", "has no id"),
        (None, "has no id"),
        (1.5, "is neither text nor a whole number"),
        (True, "is neither text nor a whole number"),
        ("a\tb", "has a tab or a line end inside"),
    ],
)
def test_what_is_no_id_is_named_with_line_and_count(bad: object, why: str) -> None:
    with pytest.raises(SourceError, match=rf"given\.csv, line 3: column \[who\] {why}.*2 lines are like that"):
        read_ids(series("u1", bad, bad), COLUMN)
