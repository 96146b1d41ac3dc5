"""Every kind of file is recognised from its content and read into the same form; each line is accounted for."""

import gzip
import json
from pathlib import Path

import pandas as pd
import pytest

from recbole_tslrec.data import sources
from recbole_tslrec.data.content import SourceError
from recbole_tslrec.data.sources import Format, Rows, read_source, recognise

REVIEWS = [("r1", "a", 20), ("r1", "b", 10), ("r2", "a", 30)]
TEXTS = {
    "s3rec": "r1 b a\nr2 a c d\n",
    "sasrec": "r1 b\nr1 a\nr2 a\n",
    "movielens": "r1::b::5::10\nr1::a::3::20\n",
    "amazon": "".join(
        json.dumps({"reviewerID": user, "asin": item, "overall": 5.0, "unixReviewTime": time}) + "\n"
        for user, item, time in REVIEWS
    ),
    "json": "".join(
        json.dumps({"user_id": user, "item_id": item, "text": 'a "q"', "timestamp": time}) + "\n"
        for user, item, time in REVIEWS
    ),
    "table": "user_id,rating,item_id,timestamp\nr1,4,b,10.5\nr1,2,a,20\n",
}
READ = {
    "s3rec": [("r1", "b", 1), ("r1", "a", 2), ("r2", "a", 1), ("r2", "c", 2), ("r2", "d", 3)],
    "sasrec": [("r1", "b", 1), ("r1", "a", 2), ("r2", "a", 1)],
    "movielens": [("r1", "b", 10), ("r1", "a", 20)],
    "amazon": REVIEWS,
    "json": REVIEWS,
    "table": [("r1", "b", 10.5), ("r1", "a", 20)],
}
SECONDS = 1_600_540_400  # 2020-09-19T18:33:20Z


def write(tmp_path: Path, text: str) -> Path:
    (tmp_path / "source").write_text(text)
    return tmp_path / "source"


def rows(path: Path, *given: object) -> list[tuple[object, ...]]:
    return list(read_source(path, *given).frame.itertuples(index=False, name=None))


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


# two interactions as each of these publishes them; the columns that --columns names
PUBLISHED = {
    "MovieLens-100k": ("u1\ti1\t5\t1600540400\nu2\ti2\t3\t1600540401\n", "0,1,3"),
    "MovieLens-25M": ("userId,movieId,rating,timestamp\nu1,i1,5.0,1600540400\nu2,i2,3.5,1600540401\n", ""),
    "Amazon 2014, ratings only": ("u1,i1,5.0,1600540400\nu2,i2,3.0,1600540401\n", "0,1,3"),
    "Amazon 2023, ratings": (
        "user_id,parent_asin,rating,timestamp\nu1,i1,5.0,1600540400000\nu2,i2,3.0,1600540401000\n",
        "",
    ),
    "Amazon 2023, reviews": (
        '{"user_id": "u1", "asin": "x", "parent_asin": "i1", "timestamp": 1600540400000, "images": []}\n'
        '{"user_id": "u2", "asin": "y", "parent_asin": "i2", "timestamp": 1600540401000, "images": [{"a": 1}]}\n',
        "user_id,parent_asin,timestamp",
    ),
    "Yelp": (
        '{"user_id": "u1", "business_id": "i1", "text": "a\\nb", "date": "2020-09-19 18:33:20"}\n'
        '{"user_id": "u2", "business_id": "i2", "text": "", "date": "2020-09-19 18:33:21"}\n',
        "user_id,business_id,date",
    ),
    "Steam": (
        "{u'username': u'u1', u'product_id': u'i1', u'date': u'2020-09-19', u'early_access': False}\n"
        "{u'username': u'u2', u'product_id': u'i2', u'date': u'2020-09-19', u'early_access': True}\n",
        "username,product_id,date",
    ),
    "Goodreads": (
        '{"user_id": "u1", "book_id": "i1", "date_added": "Sat Sep 19 11:33:20 -0700 2020"}\n'
        '{"user_id": "u2", "book_id": "i2", "date_added": "Sat Sep 19 11:33:21 -0700 2020"}\n',
        "user_id,book_id,date_added",
    ),
    "Gowalla": ("u1\t2020-09-19T18:33:20Z\t30.2\t-97.8\ti1\nu2\t2020-09-19T18:33:21Z\t30.2\t-97.8\ti2\n", "0,4,1"),
    "Last.fm-1K": (
        'u1\t2020-09-19T18:33:20Z\tm\t"Weird Al\ti1\tSong\nu2\t2020-09-19T18:33:21Z\t\tA\ti2\t7" Song\n',
        "0,4,1",
    ),
    "Taobao": ("u1,i1,4756105,pv,1600540400\nu2,i2,4756105,buy,1600540401\n", "0,1,4"),
    "Diginetica": ("sessionId;userId;itemId;timeframe\nu1;NA;i1;400\nu2;NA;i2;1400\n", "sessionId,itemId,timeframe"),
    "Retailrocket": (
        "timestamp,visitorid,event,itemid,transactionid\n1600540400000,u1,view,i1,\n1600540401000,u2,view,i2,\n",
        "",
    ),
    "REES46": ("event_time,product_id,user_id\n2020-09-19 18:33:20 UTC,i1,u1\n2020-09-19 18:33:21 UTC,i2,u2\n", ""),
    "RecBole": ("user_id:token\titem_id:token\ttimestamp:float\nu1\ti1\t1600540400\nu2\ti2\t1600540401\n", ""),
    "white space": ("u1 i1  1600540400\nu2  i2 1600540401\n", "0,1,2"),
    "bars": ("User ID | Item ID | Time\nu1 | i1 | 1600540400\nu2 | i2 | 1600540401\n", ""),
    "quoted": ('"user_id"\t"item_id"\t"timestamp"\n"u1"\t"i1"\t1600540400\n"u2"\t"i2"\t1600540401\n', ""),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_what_is_published_is_read(tmp_path: Path, name: str) -> None:
    text, columns = PUBLISHED[name]
    found = read_source(write(tmp_path, text), None, columns.split(",") if columns else ())
    first, second = found.frame.itertuples(index=False)
    assert (first.user, first.item, second.user, second.item) == ("u1", "i1", "u2", "i2")
    whole_day = SECONDS - SECONDS % 86_400
    assert first.time in (SECONDS, SECONDS * 1000, whole_day, 400)
    assert second.time - first.time == {SECONDS: 1, whole_day: 0}.get(first.time, 1000)


@pytest.mark.parametrize("write_as", ["to_parquet", "to_feather"])
def test_columnar_files_are_read_by_name_or_number(tmp_path: Path, write_as: str) -> None:
    """Whole numbers beside a missing one are floats to pandas, and times have a type of their own."""
    frame = pd.DataFrame(
        {"who": [1.0, 2.0], "what": ["x", "y"], "when": pd.to_datetime([SECONDS, SECONDS + 1], unit="s")}
    )
    getattr(frame, write_as)(tmp_path / "source")
    assert recognise(tmp_path / "source") == "columnar"
    expected = [("1", "x", SECONDS), ("2", "y", SECONDS + 1)]
    assert rows(tmp_path / "source", None, ("who", "what", "when")) == expected
    assert rows(tmp_path / "source", None, ("0", "1", "2")) == expected


def test_the_index_of_pandas_is_a_column(tmp_path: Path) -> None:
    frame = pd.DataFrame({"user_id": ["r1"], "item_id": ["a"], "timestamp": [1]})
    frame.set_index("user_id").to_parquet(tmp_path / "source")
    assert rows(tmp_path / "source") == [("r1", "a", 1)]


def test_a_missing_id_of_a_columnar_file_is_named_by_its_row(tmp_path: Path) -> None:
    pd.DataFrame({"user_id": [1, None], "item_id": [1, 2], "timestamp": [1, 2]}).to_parquet(tmp_path / "source")
    with pytest.raises(SourceError, match=r"row 2: column \[user_id\] has no id"):
        read_source(tmp_path / "source")


def test_columns_are_named_and_a_table_without_times_takes_places(tmp_path: Path) -> None:
    path = write(tmp_path, "who\twhen\twhat\nr1\t9\ta\nr1\t8\tb\n")
    assert rows(path, None, ("who", "what", "when")) == [("r1", "a", 9), ("r1", "b", 8)]
    assert rows(path, None, ("who", "what")) == [("r1", "a", 1), ("r1", "b", 2)]


def test_tokens_stay_text_as_they_are(tmp_path: Path) -> None:
    assert rows(write(tmp_path, "user_id,item_id,timestamp\n007,1.50,1\n")) == [("007", "1.50", 1)]


def test_lines_are_accounted_for(tmp_path: Path) -> None:
    text = 'item_id,note,user_id,timestamp\n\na,"two\nlines",r1,1\n   \nb,one,r1,2\n\n'
    found = read_source(write(tmp_path, text))
    assert (found.form, found.columns, found.lines) == ("table", ("user_id", "item_id", "timestamp"), 7)
    assert found.other_lines == {"header": 1, "blank": 3, "inside quoted fields": 1}
    assert len(found.frame) == 2


def test_a_reader_that_loses_a_line_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lossy(path: Path, columns: object) -> Rows:
        return Rows(pd.DataFrame({"user": ["r1"], "item": ["a"], "time": [1]}, index=[1]))

    monkeypatch.setitem(sources.FORMATS, "lossy", Format(lossy, lambda lines: False))
    with pytest.raises(SourceError, match="has 2 lines, but 1 with interactions"):
        read_source(write(tmp_path, "r1 a 1\nr1 b 2\n"), "lossy")


def test_a_reader_that_loses_a_row_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lossy(path: Path, columns: object) -> Rows:
        return Rows(pd.DataFrame({"user": ["r1"], "item": ["a"], "time": [1]}, index=[1]))

    pd.DataFrame({"user_id": ["r1", "r1"], "item_id": ["a", "b"], "timestamp": [1, 2]}).to_parquet(tmp_path / "source")
    monkeypatch.setitem(sources.FORMATS, "lossy", Format(lossy, lambda lines: False))
    with pytest.raises(SourceError, match="has 2 rows, but 1 with interactions; check the file"):
        read_source(tmp_path / "source", "lossy")


@pytest.mark.parametrize(
    ("form", "text", "why"),
    [
        ("s3rec", "r1 a b\nr2\n", "line 2 has no item"),
        ("s3rec", "r1 a b\nr1 c d\n", "line 2 names the user r1 again.*--columns=0,1,2"),
        ("sasrec", "r1 a\n\nr1 b 5\n", "line 3 has 3 fields, not 2"),
        ("movielens", "r1::b::5::10\nr1::a::5\n", "line 2 has 3 fields, not 4"),
        ("movielens", "r1::b::5::10\nr1::a::5::noon\n", r"line 2: column \[3\] is no time: \[noon\]"),
        ("amazon", '{"reviewerID": "r1", "asin": "a"}\n', "line 1 has no 'unixReviewTime'"),
        ("amazon", '{"reviewerID": "r1"\n', "line 1 holds neither"),
        ("table", "user_id,item_id,timestamp\nr1,a,\n", r"line 2: column \[timestamp\] has no time: \[\]"),
        ("table", "user,item\nr1,a\n", "has the columns user, item; name those"),
    ],
)
def test_a_malformed_line_is_named(tmp_path: Path, form: str, text: str, why: str) -> None:
    with pytest.raises(SourceError, match=why):
        read_source(write(tmp_path, text), form)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", r"not recognised.*--format"),
        ("r1\nr2\n", r"not recognised.*--format"),
        ("user,item\nr1,a\n", "it is not clear which is the time.*has the columns user, item; name"),
        ("user_id,asin,parent_asin,time\nu,a,b,4\n", r"the item \(asin, parent_asin\)"),
        ("r1\ta\t5\t881250949\n", r"\[r1, a, 5, 881250949\] is no header.*--columns=0,1,3"),
        ("r1 a 881250949\nr2 b 881250950\n", r"is no header.*--columns=0,1,2"),
        ("[{}]\n", "is a JSON array: write one object a line"),
    ],
)
def test_a_format_is_not_guessed(tmp_path: Path, text: str, why: str) -> None:
    """`user item time` with one line a user would pass for S3-Rec's users with two items."""
    with pytest.raises(SourceError, match=why):
        read_source(write(tmp_path, text))


@pytest.mark.parametrize("columns", ["time,user,item", "item,time,user"])
def test_columns_in_the_order_of_the_file_are_noticed(tmp_path: Path, columns: str) -> None:
    path = write(tmp_path, "time,user,item\n1600540400000,22,11\n1600433000000,1,3\n")
    with pytest.raises(SourceError, match=r"column \[time\] is taken for.*holds times.*the order is --col"):
        read_source(path, None, columns.split(","))


def test_a_missing_source_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="nowhere does not exist"):
        read_source(tmp_path / "nowhere")


@pytest.mark.parametrize("form", ["movielens", "amazon", "s3rec", "sasrec"])
def test_columns_of_a_fixed_format_cannot_be_named(tmp_path: Path, form: str) -> None:
    path = tmp_path / "source.dat"
    path.write_text("1::2::3::4\n")
    with pytest.raises(SourceError, match=rf"files of the format \[{form}\] have columns of their own"):
        read_source(path, form, ["0", "1", "3"])
