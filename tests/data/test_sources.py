"""Every kind of file is recognised from its content and read into the same form; a malformed line is named."""

import gzip
import json
from pathlib import Path

import pytest

from recbole_tslrec.data.content import SourceError
from recbole_tslrec.data.sources import read_source, recognise

REVIEWS = [("r1", "a", 20), ("r1", "b", 10), ("r2", "a", 30)]
TEXTS = {
    "s3rec": "r1 b a\nr2 a c d\n",
    "sasrec": "r1 b\nr1 a\nr2 a\n",
    "movielens": "r1::b::5::10\nr1::a::3::20\n",
    "amazon": "".join(
        json.dumps({"reviewerID": user, "asin": item, "overall": 5.0, "unixReviewTime": time}) + "\n"
        for user, item, time in REVIEWS
    ),
    "table": "user_id,rating,item_id,timestamp\nr1,4,b,10.5\nr1,2,a,20\n",
}
READ = {
    "s3rec": [("r1", "b", 1), ("r1", "a", 2), ("r2", "a", 1), ("r2", "c", 2), ("r2", "d", 3)],
    "sasrec": [("r1", "b", 1), ("r1", "a", 2), ("r2", "a", 1)],
    "movielens": [("r1", "b", 10), ("r1", "a", 20)],
    "amazon": REVIEWS,
    "table": [("r1", "b", 10.5), ("r1", "a", 20)],
}


def write(tmp_path: Path, text: str) -> Path:
    (tmp_path / "source").write_text(text)
    return tmp_path / "source"


def rows(path: Path, *given: object) -> list[tuple[object, ...]]:
    return list(read_source(path, *given)[1].itertuples(index=False, name=None))


@pytest.mark.parametrize("form", TEXTS)
def test_each_format_is_recognised_and_read(tmp_path: Path, form: str) -> None:
    path = write(tmp_path, TEXTS[form])
    assert recognise(path) == form
    assert rows(path) == READ[form]


@pytest.mark.parametrize("form", TEXTS)
def test_a_packed_file_is_opened_as_it_is(tmp_path: Path, form: str) -> None:
    path = tmp_path / "source.whatever"
    path.write_bytes(gzip.compress(TEXTS[form].encode()))
    assert rows(path) == READ[form]


def test_columns_are_named_and_a_table_without_times_takes_places(tmp_path: Path) -> None:
    path = write(tmp_path, "who\twhen\twhat\nr1\t9\ta\nr1\t8\tb\n")
    assert rows(path, None, ("who", "what", "when")) == [("r1", "a", 9), ("r1", "b", 8)]
    assert rows(path, None, ("who", "what")) == [("r1", "a", 1), ("r1", "b", 2)]


def test_tokens_stay_text_as_they_are(tmp_path: Path) -> None:
    assert rows(write(tmp_path, "user_id,item_id,timestamp\n007,NA,1\n")) == [("007", "NA", 1)]


@pytest.mark.parametrize(
    ("form", "text", "why"),
    [
        ("s3rec", "r1 a b\nr2\n", "line 2 has no item"),
        ("s3rec", "r1 a b\nr1 c d\n", "line 2 names the user r1 again"),
        ("sasrec", "r1 a\n\nr1 b 5\n", "line 3 has 3 fields, not 2"),
        ("movielens", "r1::b::5::10\nr1::a::5\n", "line 2 has 3 fields, not 4"),
        ("movielens", "r1::b::5::10\nr1::a::5::noon\n", r"line 2 has the time \[noon\]"),
        ("amazon", '{"reviewerID": "r1", "asin": "a"}\n', "line 1 has no 'unixReviewTime'"),
        ("amazon", '{"reviewerID": "r1"\n', "line 1 holds neither"),
        ("table", "user_id,item_id,timestamp\nr1,a,\n", r"line 2 has the time \[\]"),
        ("table", "user,item\nr1,a\n", "has the columns user, item; name those"),
    ],
)
def test_a_malformed_line_is_named(tmp_path: Path, form: str, text: str, why: str) -> None:
    with pytest.raises(SourceError, match=why):
        read_source(write(tmp_path, text), form)


@pytest.mark.parametrize("text", ["", "user,item\nr1,a\n", "r1\ta\t5\t881250949\n", "r1\nr2\n"])
def test_a_format_is_not_guessed(tmp_path: Path, text: str) -> None:
    """MovieLens-100k's u.data, tab-separated, would pass for a user with three items."""
    with pytest.raises(SourceError, match=r"not recognised.*--format"):
        read_source(write(tmp_path, text))


def test_a_missing_source_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="nowhere does not exist"):
        read_source(tmp_path / "nowhere")
