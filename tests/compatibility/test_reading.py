"""pyarrow reads an atomic file as pandas does, or leaves it to pandas."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from recbole_tslrec.compatibility import reading

TYPES: dict[str, Any] = {"user:token": str, "rating:float": np.float64, "tags:token_seq": str}
HEAD = "user:token\trating:float\ttags:token_seq\n"
PLAIN = {
    "values": "u1\t0.1\ta b\nu2\t-1e-7\tc\nu1\t12345678901.25\tü\n",
    "nothing": "\t\t\nNA\tnan\tNone\nu\tNULL\tx\n",
    "quotes": 'u"1\t1\t"a b\n"u\t2\tc"\n',
    "blank lines": "u1\t1\ta\n\nu2\t2\tb\n\n",
    "blanks": " u1 \t 1 \ta  b\n",
    "no last line end": "u1\t1\ta",
    "signs": "u1\t+1\ta\n",
    "many digits": "u1\t0.30000000000000004\ta\nu2\t1.7976931348623157e308\tb\n",
}
LEFT_TO_PANDAS = {
    "carriage returns": "u1\t1\ta\r\nu2\t2\tb\r\n",
    "a field too few": "u1\t1\nu2\t2\tb\n",
}


def by_pandas(path: Path) -> pd.DataFrame:
    return pd.read_csv(
        path, delimiter="\t", usecols=list(TYPES), dtype=TYPES, quoting=3, engine="c", float_precision="round_trip"
    )


def read(path: Path) -> Any:
    return reading.read_columns(path, "\t", usecols=list(TYPES), dtype=TYPES, engine="python", encoding="utf-8")


@pytest.mark.parametrize("rows", PLAIN.values(), ids=PLAIN)
def test_plain_files_are_read_as_pandas_reads_them(tmp_path: Path, rows: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.inter").write_text(HEAD + rows)
    expected = by_pandas(tmp_path / "a.inter")
    monkeypatch.setattr(pd, "read_csv", None)  # nothing is left to it
    pd.testing.assert_frame_equal(read(tmp_path / "a.inter"), expected, check_exact=True)


@pytest.mark.parametrize("rows", LEFT_TO_PANDAS.values(), ids=LEFT_TO_PANDAS)
def test_other_files_are_left_to_pandas(tmp_path: Path, rows: str) -> None:
    (tmp_path / "a.inter").write_bytes((HEAD + rows).encode())
    assert reading._read_plain(tmp_path / "a.inter", "\t", {"dtype": TYPES, "usecols": list(TYPES)}) is None
    pd.testing.assert_frame_equal(read(tmp_path / "a.inter"), by_pandas(tmp_path / "a.inter"))


def test_equal_tokens_are_one_object(tmp_path: Path) -> None:
    (tmp_path / "a.inter").write_text(HEAD + "user1\t1\ta\nuser1\t2\tb\n")
    first, second = read(tmp_path / "a.inter")["user:token"]
    assert first is second
