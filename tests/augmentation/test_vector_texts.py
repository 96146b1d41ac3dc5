"""Item vectors in text: as many as lines, and tokens as they are written."""

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

from recbole_tslrec.augmentation.vector_files import read_file
from recbole_tslrec.augmentation.vector_rows import VectorsError

TOKENS = ["007", "7", "B00,X"]
ROWS = [[0.5, -2.0], [3.0, 1.0], [0.0, 7.5]]


def frame() -> pd.DataFrame:
    return pd.DataFrame(ROWS, columns=["0", "1"]).assign(item_id=TOKENS)


def write(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "e.csv"
    path.write_text(text, encoding=encoding, newline="")
    return path


def is_right(path: Path, tokens: list[str] = TOKENS) -> bool:
    found, rows = read_file(path)
    assert (found, rows.tolist(), rows.dtype) == (tokens, ROWS, torch.float32)
    return True


@pytest.mark.parametrize("separator", [",", ";", "|", "\t"])
@pytest.mark.parametrize("index", [False, True])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_tables(tmp_path: Path, separator: str, index: bool, encoding: str) -> None:
    assert is_right(write(tmp_path, frame().to_csv(sep=separator, index=index, lineterminator="\r\n"), encoding))


def test_packed_table_whatever_its_name(tmp_path: Path) -> None:
    (tmp_path / "e.npy").write_bytes(gzip.compress(frame().to_csv(index=False).encode()))
    assert is_right(tmp_path / "e.npy")


@pytest.mark.parametrize("tokens", [["007", "7", "12"], ["b", "a", "c"]])
def test_tokens_are_the_first_column_where_there_is_no_header(tmp_path: Path, tokens: list[str]) -> None:
    lines = [",".join([token, *map(str, row)]) for token, row in zip(tokens, ROWS, strict=True)]
    assert is_right(write(tmp_path, "\n".join(lines)), tokens)


def test_numbers_of_rows_are_no_tokens_where_there_is_no_header(tmp_path: Path) -> None:
    lines = [",".join(map(str, [number, *row])) for number, row in enumerate(ROWS)]
    with pytest.raises(VectorsError, match=r"no column item_id, and .* only numbers the rows"):
        read_file(write(tmp_path, "\n".join(lines)))


def test_the_index_of_text_of_a_csv_file(tmp_path: Path) -> None:
    assert is_right(write(tmp_path, pd.DataFrame(ROWS, TOKENS).to_csv()))


def test_lists_as_text(tmp_path: Path) -> None:
    assert is_right(write(tmp_path, pd.DataFrame({"item_id": TOKENS, "vector": ROWS}).to_csv(index=False)))


@pytest.mark.parametrize("key", ["item_id", "asin"])
def test_json_lines(tmp_path: Path, key: str) -> None:
    lines = [json.dumps({key: token, "vector": row}) for token, row in zip(TOKENS, ROWS, strict=True)]
    assert is_right(write(tmp_path, "\n".join(lines)))


def test_a_whole_number_may_follow_where_a_fraction_was(tmp_path: Path) -> None:
    """In lists of JSON, and in columns, of which the first lines say nothing."""
    lines = [{"item_id": "a", "vector": [1, 2]}, {"item_id": "b", "vector": [0.5, 2]}]
    assert read_file(write(tmp_path, "\n".join(map(json.dumps, lines))))[1].tolist() == [[1, 2], [0.5, 2]]
    many = "".join(f"i{number},1,2\n" for number in range(300))
    assert read_file(write(tmp_path, f"item_id,d0,d1\n{many}x,0.5,2\n"))[1][-1].tolist() == [0.5, 2.0]


def test_an_empty_cell_is_a_number_that_is_missing(tmp_path: Path) -> None:
    assert read_file(write(tmp_path, "item_id,d0,d1\na,,1\nb,,2\n"))[1].isnan().tolist() == [[True, False]] * 2


def test_a_lone_quote_swallows_no_line_of_a_table_with_tabs(tmp_path: Path) -> None:
    text = frame().assign(item_id=['"a', "b", '"c']).to_csv(sep="\t", index=False, quoting=3)
    assert is_right(write(tmp_path, text), ['"a', "b", '"c'])


@pytest.mark.parametrize("header", ["item_id:token\temb:float_seq", "item_id:token\tx:float\ty:float"])
def test_a_lone_quote_swallows_no_line_of_an_atomic_file(tmp_path: Path, header: str) -> None:
    between = " " if "seq" in header else "\t"
    lines = [f"{token}\t{between.join(map(str, row))}" for token, row in zip(['"a', "b", 'c"'], ROWS, strict=True)]
    assert is_right(write(tmp_path, "\n".join([header, *lines])), ['"a', "b", 'c"'])


@pytest.mark.parametrize("first", ["", "3 2\n"])
def test_word_vectors_are_refused_with_the_lines_that_convert_them(tmp_path: Path, first: str) -> None:
    tokens = ["007", '"a', "B00"]
    lines = [" ".join([token, *map(str, row)]) for token, row in zip(tokens, ROWS, strict=True)]
    path = write(tmp_path, first + " \n".join(lines))
    with pytest.raises(VectorsError, match="has blanks between columns without names, as word2vec and GloVe") as error:
        read_file(path)
    code = [line.strip() for line in str(error.value).splitlines()[1:]]
    assert len(code) == 2
    subprocess.run([sys.executable, "-c", "\n".join(code)], check=True)
    assert is_right(path.with_suffix(".parquet"), tokens)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty; check what wrote it"),
        ("item_id,d0,d1\n", "holds no vectors; check what wrote it"),
        ('[{"item_id": "a", "vector": [1, 2]}]', r"is one JSON array; write one object a line:\n.*\n.*lines=True"),
        ("item_id,d0,d1\na,1,2\nb,1\n", "line 3 has 2 fields, not 3"),
        ('item_id,d0,d1\n"a,1,2\nb,1,2\nc",1,2\nd,1,2\n', "line 2: a double quote opens a field"),
        ("not found\n", r"is text without columns, its first line is \[not found\]"),
        ('{"item_id": "a", "vector": [1]}\n{"item_id": }\n', "is not one JSON object a line"),
        ("<!DOCTYPE html><html></html>", "is a web page file; download the file itself"),
        (
            "version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
            "is a git-lfs pointer file; fetch .* `git lfs pull`",
        ),
    ],
)
def test_what_is_no_table(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(VectorsError, match=message):
        read_file(write(tmp_path, text))


@pytest.mark.parametrize(("before", "after"), [("[", "]"), ('{"a":', "}")])
def test_deep_nesting_does_not_end_the_process(tmp_path: Path, before: str, after: str) -> None:
    path = tmp_path / "e.jsonl"
    path.write_text('{"item_id": "a", "v": [1.0]}\n{"item_id": "b", "v": ' + before * 100_000 + after * 100_000 + "}\n")
    with pytest.raises(VectorsError, match="line 2 has more than 5,000 brackets"):
        read_file(path)
