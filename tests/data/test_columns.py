"""Columns are found by what they are called, or by number; nothing is guessed."""

from pathlib import Path

import pytest

from recbole_tslrec.data.columns import choose
from recbole_tslrec.data.content import SourceError

GIVEN = Path("given.csv")


@pytest.mark.parametrize(
    ("header", "columns", "places"),
    [
        ("user_id,item_id,timestamp", "", (0, 1, 2)),
        ("timestamp,visitorid,event,itemid", "", (1, 3, 0)),
        ("userId,movieId,rating,timestamp", "", (0, 1, 3)),
        ("user_id:token,item_id:token,timestamp:float", "", (0, 1, 2)),
        ('"User ID", Item-ID ,TIME', "", (0, 1, 2)),
        ("user_id,item_id,timestamp,date", "", (0, 1, 2)),  # the package's own names go before others
        ("a,b,c", "c,a", (2, 0)),
        (" A ,b", "a,B", (0, 1)),
        ("user:token,item:token", "user,item", (0, 1)),
    ],
)
def test_names(header: str, columns: str, places: tuple[int, ...]) -> None:
    found = choose(GIVEN, header.split(","), columns.split(",") if columns else (), ["u", "i", "5", "5"])
    assert found.places == places
    assert found.has_header


@pytest.mark.parametrize(
    ("first", "second", "has_header"),
    [
        ("0,1,5,1600540400", "7,8,5,1600540401", False),  # ids that are like numbers of columns
        ("user,item,rating,time", "7,8,5,1600540401", True),
        ("0,1,2,3", "7,8,5,1600540401", True),  # as pandas writes a table without names
    ],
)
def test_numbers_are_from_0_with_a_header_or_without(first: str, second: str, has_header: bool) -> None:
    found = choose(GIVEN, first.split(","), ("0", "1", "3"), second.split(","))
    assert (found.places, found.has_header) == ((0, 1, 3), has_header)


@pytest.mark.parametrize(
    ("header", "columns", "why"),
    [
        ("a,b", "a", "must be those of user, item and"),
        ("a,b", "a,c", r"has no column \[c\]; it has the columns a, b"),
        ("a,b", "0,2", "has 2 columns, 0 to 1, but no column 2"),
        ("a,b,b", "a,b", r"has 2 columns \[b\]"),
        ("userid,uid,item,time", "uid,item,date", r"no column \[date\]"),
        ("buyer,item,time", "", r"which is the user \(none has a name that says so\)"),
        ("1,2,3,4", "user,item,time", "is no header with names of columns.*--columns=0,1,3"),
    ],
)
def test_what_is_not_there_or_not_clear_lists_what_is(header: str, columns: str, why: str) -> None:
    with pytest.raises(SourceError, match=why):
        choose(GIVEN, header.split(","), columns.split(",") if columns else (), ["u", "i", "x"])
