"""What a file says of items, for those that have interactions and no others."""

import json
from pathlib import Path

import pandas as pd
import pytest

from recbole_tslrec.data.content import SourceError
from recbole_tslrec.data.item_information import read_items


def write(tmp_path: Path, text: str, encoding: str = "utf-8") -> Path:
    (tmp_path / "items").write_text(text, encoding=encoding)
    return tmp_path / "items"


def test_movies(tmp_path: Path) -> None:
    text = "1::Misérables, Les (1995)::Drama|Children's Film\n2::Casino (1995)::Drama\n"
    found = read_items(write(tmp_path, text, "latin-1"), ["2", "1"]).to_dict("records")
    assert found == [
        {"item_id:token": "2", "title:token_seq": "Casino (1995)", "categories:token_seq": "Drama"},
        {
            "item_id:token": "1",
            "title:token_seq": "Misérables, Les (1995)",
            "categories:token_seq": "Drama Children's_Film",
        },
    ]


def test_amazons_metadata_are_python_literals_or_json(tmp_path: Path) -> None:
    of_2014 = {
        "asin": "a",
        "title": 'A "red"  shatter &amp; glue\tset',
        "brand": "O'Pi",
        "categories": [["Beauty", "Nail Polish"], ["Beauty"]],
    }
    of_2018 = {"asin": "b", "title": "B", "category": ["Beauty", "Hair Care"]}
    found = read_items(write(tmp_path, f"{of_2014!r}\n{json.dumps(of_2018)}\n"), ["a", "b", "c"])
    assert found["title:token_seq"].tolist() == ["A 'red' shatter & glue set", "B", ""]
    assert found["brand:token"].tolist() == ["O'Pi", "", ""]
    assert found["categories:token_seq"].tolist() == ["Beauty Nail_Polish", "Beauty Hair_Care", ""]


def test_attributes_of_s3rec(tmp_path: Path) -> None:
    found = read_items(write(tmp_path, json.dumps({"1": [7, 3], "2": [3], "9": [1]})), ["1", "2"])
    assert found.to_dict("list") == {"item_id:token": ["1", "2"], "categories:token_seq": ["7 3", "3"]}


def test_a_file_of_other_items_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="knows none of the 1 items, such as b1"):
        read_items(write(tmp_path, json.dumps({"1": [7]})), ["b1"])


def test_a_table_of_other_items_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="knows none of the 1 items, such as b1"):
        read_items(write(tmp_path, "item_id,title\nq1,one\n"), ["b1"])


def test_items_that_a_file_does_not_know_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    read_items(write(tmp_path, "item_id,title\nb1,one\n"), ["b1", "b2", "b3"])
    assert "knows 1 of the 3 items" in caplog.text


@pytest.mark.parametrize("text", ["a title\n", "{not json\n"])
def test_an_unknown_file_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(SourceError, match="neither"):
        read_items(write(tmp_path, text), ["1"])


def test_a_table_keeps_its_columns_of_text(tmp_path: Path) -> None:
    text = 'movieId,title,genres,year\n1,"Toy, ""Story""",Adventure|Sci Fi,1995\n2,Heat,(none),1995\n9,No,No,1\n'
    found = read_items(write(tmp_path, text), ["1", "2"], "movieId")
    assert found.to_dict("list") == {
        "item_id:token": ["1", "2"],
        "title:token_seq": ["Toy, 'Story'", "Heat"],
        "genres:token_seq": ["Adventure Sci_Fi", "(none)"],
    }


def test_objects_keep_text_and_lists_of_names(tmp_path: Path) -> None:
    meta = {
        "parent_asin": "a",
        "title": "Nail polish",
        "price": 3.5,
        "categories": ["Beauty", "Nail Care"],
        "images": [{"large": "https://x"}],
        "description": ["It shines as nothing else has ever shone", "Buy it"],
    }
    found = read_items(write(tmp_path, json.dumps(meta) + "\n"), ["a", "b"], "parent_asin")
    assert found.to_dict("list") == {
        "item_id:token": ["a", "b"],
        "title:token_seq": ["Nail polish", ""],
        "categories:token_seq": ["Beauty Nail_Care", ""],
        "description:token_seq": ["It shines as nothing else has ever shone Buy it", ""],
    }


def test_the_items_of_a_columnar_file_may_be_numbers(tmp_path: Path) -> None:
    pd.DataFrame({"item_id": [1, 2], "name": ["a b", None]}).to_parquet(tmp_path / "items")
    found = read_items(tmp_path / "items", ["2", "1"])
    assert found.to_dict("list") == {"item_id:token": ["2", "1"], "name:token_seq": ["", "a b"]}


def test_a_table_without_the_items_column_lists_what_it_has(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="has no column item_id or sku, but code, name"):
        read_items(write(tmp_path, "code,name\n1,x\n"), ["1"], "sku")


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_movies_are_utf_8_or_else_latin_1(tmp_path: Path, encoding: str) -> None:
    found = read_items(write(tmp_path, "1::Misérables::Drama\n", encoding), ["1"])
    assert found["title:token_seq"].tolist() == ["Misérables"]
