"""Tables in text: a row is a line, but in CSV, where quotes are whole or refused with their line."""

from pathlib import Path

import pytest

from recbole_tslrec.data.content import SourceError
from recbole_tslrec.data.delimited import Table, read_table, separator_of


def read(tmp_path: Path, text: str, separator: str, width: int, places: tuple[int, ...] = (0, 1)) -> Table:
    (tmp_path / "given").write_text(text)
    return read_table(tmp_path / "given", separator, width, places, has_header=False)


def cells(table: Table) -> dict[int, list[str]]:
    """The fields of each line."""
    return {int(line): list(row) for line, row in zip(table.frame.index, table.frame.to_numpy(), strict=True)}


@pytest.mark.parametrize(
    ("lines", "separator"),
    [
        (["a,b;c", "d,e"], ","),
        (["a;b,c", "d;e"], ";"),
        (["a\tb, c | d | e", "f\tg"], "\t"),
        (["a::b:c", "d::e"], "::"),
        (["a | b"], "|"),
        (['"x;y",b', '"z",d'], ","),
        (["1;2,5;3", "1;4,5;6"], ";"),
        (["a  b c", "d e f"], " "),
        (["a,b", "c"], ","),
    ],
)
def test_the_separator_cuts_all_lines_alike(lines: list[str], separator: str) -> None:
    assert separator_of(lines) == separator


def test_a_lone_quote_swallows_nothing_between_tabs(tmp_path: Path) -> None:
    assert cells(read(tmp_path, 'u1\t"Weird\nu2\tb\nu3\t7"\n', "\t", 2)) == {
        1: ["u1", '"Weird'],
        2: ["u2", "b"],
        3: ["u3", '7"'],
    }


def test_white_space_of_any_length_separates(tmp_path: Path) -> None:
    assert cells(read(tmp_path, "  u1 \t x\n\n   \nu2 y  \n", " ", 2)) == {1: ["u1", "x"], 4: ["u2", "y"]}


def test_a_quoted_field_may_hold_separators_and_lines(tmp_path: Path) -> None:
    found = read(tmp_path, 'u1,"good, very\n\nindeed",x\nu2,"say ""y""",y\n', ",", 3, (0, 1, 2))
    assert cells(found) == {1: ["u1", "good, very\n\nindeed", "x"], 4: ["u2", 'say "y"', "y"]}
    assert found.continued == 1  # the third; the second is blank


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('u1,"x,1\nu2,"y,2\n', "line 1: a double quote opens a field that does not end as it should"),
        ('u1,x,1\nu2,"y,2\nu3,z,3\n', "line 2: a double quote opens a field that does not end as it should"),
        ('u1,x,1\nu2,"y,2\nu3,z",3\n', "line 2: a double quote opens a field that goes on to line 3 and holds"),
        ("u1,x,1\nu2,y\n", "line 2 has 2 fields, not 3"),
        ("u1,x,1\nu2,y,2,3\n", "line 2 has 4 fields, not 3"),
    ],
)
def test_what_is_no_row_is_named_with_its_line(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(SourceError, match=why):
        read(tmp_path, text, ",", 3)
