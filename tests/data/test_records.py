"""One object a line, read quickly where that is safe, and to the same end where it is not."""

from pathlib import Path

import pytest

from recbole_tslrec.data.content import SourceError
from recbole_tslrec.data.records import read_fields


def read(tmp_path: Path, text: str, *names: str) -> dict[int, list[object]]:
    """The fields of each line."""
    (tmp_path / "given").write_text(text)
    frame = read_fields(tmp_path / "given", names)
    return {int(line): list(row) for line, row in zip(frame.index, frame.astype(object).to_numpy(), strict=True)}


@pytest.mark.parametrize(
    "text",
    [
        '{"u": "a", "t": 1, "x": {"y": [1]}}\n\n{"t": 2, "u": "b", "x": null}\n',
        "{'u': 'a', 't': 1}\n\n{u't': 2, u'u': u'b', 'x': True}\n",
        "{\"u\": \"a\", \"t\": 1}\n\n{'u': 'b', 't': 2}\n",
    ],
)
def test_json_and_python_literals(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, text, "u", "t") == {1: ["a", 1], 3: ["b", 2]}


def test_values_of_several_kinds_stay_what_they_are(tmp_path: Path) -> None:
    assert read(tmp_path, '{"u": 1}\n{"u": "1a"}\n{"u": null}\n', "u") == {1: [1], 2: ["1a"], 3: [None]}


@pytest.mark.parametrize(
    ("second", "why"),
    [
        ('{"u": "b"}', "line 2 has no 't', but u"),
        ('{"u": [1], "t": 1}', r"line 2: \[u\] holds several values"),
        ('{"u": "b", "t":', "line 2 holds neither a JSON object nor a Python dict"),
        ("5", "line 2 holds neither"),
        ("[" * 100_000, "line 2 holds neither"),
    ],
)
def test_what_is_no_such_object_is_named(tmp_path: Path, second: str, why: str) -> None:
    with pytest.raises(SourceError, match=why):
        read(tmp_path, f'{{"u": "a", "t": 1}}\n{second}\n', "u", "t")
