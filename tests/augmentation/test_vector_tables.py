"""Which columns of a table are the items' tokens and which their vectors."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

from recbole_tslrec.augmentation.vector_rows import VectorsError
from recbole_tslrec.augmentation.vector_tables import tokens_and_rows

TOKENS = ["b", "a", "c"]
ROWS = np.array([[0.5, -2.0], [3.0, 1.0], [0.0, 7.5]], dtype=np.float32)
PATH = Path("e.parquet")


def frame(**columns: Any) -> pd.DataFrame:
    """Two columns of vectors, and others."""
    return pd.DataFrame(ROWS, columns=["d0", "d1"]).assign(**columns)


def read(table: pd.DataFrame) -> tuple[list[str], torch.Tensor]:
    """A pandas table, as it comes out of a parquet file."""
    return tokens_and_rows(PATH, pa.Table.from_pandas(table))


def is_right(found: tuple[list[str], torch.Tensor], tokens: list[str] = TOKENS) -> bool:
    return found[0] == tokens and found[1].tolist() == ROWS.tolist()


# An index


@pytest.mark.parametrize("index", [[22, 20, 25], [0, 1, 2], ["x", "y", "z"]])
def test_an_index_is_no_vector(index: list[Any]) -> None:
    assert is_right(read(frame(item_id=TOKENS).set_index(pd.Index(index))))


@pytest.mark.parametrize("name", ["index", "level_0", "Unnamed: 0", "__index_level_0__", ""])
def test_an_index_that_became_a_column_is_no_vector(name: str) -> None:
    assert is_right(read(frame(item_id=TOKENS, **{name: [22, 20, 25]})))


@pytest.mark.parametrize(
    ("second", "third"),
    [(["1", "abc", "3"], [1, 2, 3]), (["0,5", "1,25", "0"], [0, 0, 1]), (["1", "2", "n/a"], [1, 2, 3])],
)
def test_text_in_a_part_of_a_vector_is_refused(second: list[str], third: list[int]) -> None:
    table = pd.DataFrame({"item_id": TOKENS, "d0": [0.5, 1.0, 2.0], "d1": second, "d2": third})
    value = next(text for text in second if not text.isdecimal())
    with pytest.raises(VectorsError, match=rf"text in column \[d1\], such as \[{value}\]"):
        tokens_and_rows(PATH, pa.Table.from_pandas(table))


def test_numbered_columns_of_text_beside_vectors_are_left_out() -> None:
    assert is_right(read(frame(item_id=TOKENS, tag1=["x", "y", "z"], tag2=[1, 2, 3])))


@pytest.mark.parametrize("name", [None, "index", "row"])
def test_numbers_of_rows_are_never_tokens(name: str | None) -> None:
    table = frame().set_index(pd.Index([0, 1, 2] if name == "row" else [2, 0, 1], name=name))
    with pytest.raises(
        VectorsError,
        match=r'no column item_id, and [^;]*only numbers the rows; .*\n    df = df.reset_index\(names="item_id"\)',
    ) as error:
        tokens_and_rows(PATH, pa.Table.from_pandas(table, preserve_index=True))
    assert "\n    df.to_parquet('e.parquet', index=False)" in str(error.value)


def test_a_column_that_counts_the_rows_is_neither_token_nor_vector() -> None:
    with pytest.raises(VectorsError, match=r"no column item_id, and \[row\] only numbers the rows"):
        read(frame(row=[0, 1, 2]))
    assert is_right(read(frame(row=[0, 1, 2], asin=TOKENS)))


@pytest.mark.parametrize("index", [pd.Index(["b", "a", "c"]), pd.Index(["b", "a", "c"], name="asin")])
def test_an_index_of_text_holds_the_tokens_where_nothing_else_does(index: pd.Index) -> None:
    assert is_right(read(frame().set_index(index)))


def test_an_index_that_is_named_item_id_holds_the_tokens() -> None:
    assert is_right(read(frame().set_index(pd.Index([0, 1, 2], name="item_id"))), ["0", "1", "2"])


# Tokens


@pytest.mark.parametrize("values", [[30, 4, 500], [30.0, 4.0, 500.0]])
def test_whole_numbers_are_tokens(values: list[Any], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        assert is_right(read(frame(item_id=values)), ["30", "4", "500"])
    assert ("written as 123.0" in caplog.text) == isinstance(values[0], float)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.5, 2.0, 3.0], r"column \[item_id\] holds 1.5, which is no item token"),
        ([1.0, None, 3.0], r"has 1 rows without a token in column \[item_id\], the first is row 2"),
        (["a", "", None], r"has 2 rows without a token in column \[item_id\], the first is row 2"),
    ],
)
def test_what_is_no_token(values: list[Any], message: str) -> None:
    with pytest.raises(VectorsError, match=message):
        read(frame(item_id=values))


def test_item_id_goes_before_other_columns_of_text() -> None:
    assert is_right(read(frame(title=["x", "y", "z"], item_id=TOKENS)))


# Vectors


def test_other_numbers_than_those_named_alike_are_left_out_and_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        found = read(frame(item_id=TOKENS, price=[1.5, 2.5, 3.5], year=[1990, 1991, 1992], title=["x", "y", "z"]))
    assert is_right(found)
    assert caplog.messages == [
        "e.parquet: 3 vectors of width 2 from 2 columns [d0, d1], tokens from [item_id]; "
        "left out: 3 columns [price, year, title]"
    ]


def test_columns_that_are_numbers_are_in_the_order_of_the_file() -> None:
    table = pd.DataFrame(ROWS[:, ::-1].copy(), columns=["1", "0"]).assign(item_id=TOKENS)
    assert read(table)[1].tolist() == ROWS[:, ::-1].tolist()


def test_two_kinds_of_numbered_columns_are_taken_and_listed(caplog: pytest.LogCaptureFixture) -> None:
    columns = {f"{kind}_{number}": np.arange(3.0) for kind in ("text", "image") for number in range(1, 5)}
    with caplog.at_level(logging.INFO):
        _, rows = read(pd.DataFrame({"item_id": TOKENS, **columns, "year": [1, 2, 3]}))
    assert rows.shape == (3, 8)
    assert "from 8 columns [text_1, text_2, ..., image_4]" in caplog.text


def test_numbers_with_other_names_are_all_taken(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        assert is_right(read(pd.DataFrame({"item_id": TOKENS, "x": ROWS[:, 0], "y": ROWS[:, 1]})))
    assert "from 2 columns [x, y]" in caplog.text


def test_a_column_of_lists_goes_before_columns_of_numbers() -> None:
    assert is_right(read(pd.DataFrame({"item_id": TOKENS, "price": [1.5, 2.5, 3.5], "vector": list(ROWS)})))


@pytest.mark.parametrize("form", ["[{}, {}]", "[ {}  {}]", "{} {}", "{},{}"])
def test_lists_that_were_written_as_text(form: str) -> None:
    assert is_right(read(pd.DataFrame({"item_id": TOKENS, "vector": [form.format(*row) for row in ROWS.tolist()]})))


def test_vectors_that_were_shortened_as_they_were_printed() -> None:
    with pytest.raises(VectorsError, match=r"shortened to '...' when they were printed; write all numbers"):
        read(pd.DataFrame({"item_id": ["a"], "vector": ["[0.1 ... 0.2]"]}))


def test_two_columns_of_one_name() -> None:
    table = pa.table([pa.array(TOKENS), pa.array([1.0] * 3), pa.array([2.0] * 3)], ["item_id", "x", "x"])
    with pytest.raises(VectorsError, match=r"more than one column \[x\]"):
        tokens_and_rows(PATH, table)
