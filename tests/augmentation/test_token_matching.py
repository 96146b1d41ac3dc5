"""Rows find their items by token, and tokens that look miscounted are told from those that do not."""

import pytest

from recbole_tslrec.augmentation.token_matching import match_tokens, off_by_one


def test_rows_of_items() -> None:
    assert match_tokens(["a", "b", "c"], ["c", "x", "a"]) == ([2, -1, 0], [])


def test_other_spellings_are_counted_and_shown() -> None:
    rows, respellings = match_tokens(["1.0", "2.0", '"x', "3"], ["3", "2", "1", "x"])
    assert rows == [3, 1, 0, 2]
    assert [each.note.split(",")[0] for each in respellings] == [
        "2 item tokens differ from the dataset's by a decimal point",
        "1 item tokens differ from the dataset's by double quotes",
    ]
    assert "'2.0' for '2'" in respellings[0].note


def test_quotes_as_a_csv_writer_puts_them() -> None:
    assert match_tokens(['"a""b"', '"c"'], ["c", 'a"b'])[0] == [1, 0]


def test_a_token_of_two_rows_is_nobodys() -> None:
    assert match_tokens([" a", "a "], ["a"]) == ([-1], [])
    assert match_tokens(["a "], ["a", " a"]) == ([-1, -1], [])


def tokens(numbers: range | list[int]) -> list[str]:
    return [f"i{number:03}" for number in numbers]


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        (range(40), "'i000' is that of no item, and none is that of 'i040'"),  # counted from 0
        (range(2, 42), "'i041' is that of no item, and none is that of 'i001'"),
        ([*range(1, 31), *range(32, 42)], "'i041' is that of no item, and none is that of 'i031'"),  # a quarter
    ],
)
def test_numbers_that_are_one_off(numbers: range | list[int], said: str) -> None:
    assert said in off_by_one(tokens(numbers), tokens(range(1, 41)))


def test_a_shift_that_more_items_match() -> None:
    """The dataset has the even numbers only, the file has the odd ones."""
    said = off_by_one(tokens(range(1, 81, 2)), tokens(range(0, 80, 2)))
    assert said == "40 of 40 items would have a vector if its numbers were not one too high"


def test_a_catalogue_counted_from_zero_of_which_the_dataset_has_a_part() -> None:
    assert "one too low: '0' is that of no item" in off_by_one(
        list(map(str, range(100))), ["3", "17", "31", "44", "60", "100"]
    )


@pytest.mark.parametrize(
    "numbers",
    [
        range(1, 41),  # all
        range(1, 40),  # but the last
        range(2, 41),  # but the first
        range(41),  # and one more
        range(1, 100, 3),  # some
        [*range(1, 20), *range(21, 41), 70],  # one for another
    ],
)
def test_numbers_that_are_right(numbers: range | list[int]) -> None:
    assert off_by_one(tokens(numbers), tokens(range(1, 41))) == ""


def test_words_are_no_numbers() -> None:
    assert off_by_one(["B00A", "B00B"], ["B00A", "B00C"]) == ""
