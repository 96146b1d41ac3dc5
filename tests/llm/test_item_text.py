"""Words of items for the prompt: which, in which tokens, and what is said where there are none."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from recbole_tslrec.llm.item_text import (
    MOST_TEXT_TOKENS,
    ItemText,
    check_item_text,
    item_text_content,
    read_item_texts,
    read_titles,
    tokenise_item_texts,
)
from recbole_tslrec.llm.loading import byte_level_tokenizer
from recbole_tslrec.llm.settings import ItemTextSettings
from recbole_tslrec.settings import ConfigError

HEAD = "item_id:token\ttitle:token_seq\tprice:float\tcategories:token_seq"
ROWS = ["7\tRed Nail Polish\t1.5\tMakeup Nail_Care", "8\t\t2.5\tHair", "9\tNA\t3.5\t"]


def settings_of(folder: Path, wanted: Any, lines: Sequence[str] | None = (HEAD, *ROWS)) -> ItemTextSettings:
    """Of a dataset that is called toy."""
    if lines is not None:
        (folder / "toy.item").write_text("\n".join(lines) + "\n")
    formats = {"field_separator": "\t", "encoding": "utf-8", "ITEM_ID_FIELD": "item_id"}
    wanted_keys = {"prompt_item_text": wanted, "prompt_item_vector": True}
    return ItemTextSettings(**wanted_keys, data_path=str(folder), dataset="toy", **formats)


# which words


def test_texts_follow_the_tokens_and_underscores_become_blanks(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, "categories")
    assert read_item_texts(settings, ["8", "7", "unlisted", "9"]) == ["Hair", "Makeup Nail Care", "", ""]


@pytest.mark.parametrize("wanted", ["title, categories", ["title", "categories"]])
def test_several_columns_stand_one_after_the_other(tmp_path: Path, wanted: Any) -> None:
    """Item 8 has no title and item 9 no category; a title NA is no missing one."""
    texts = read_item_texts(settings_of(tmp_path, wanted), ["7", "8", "9"])
    assert texts == ["Red Nail Polish, Makeup Nail Care", "Hair", "NA"]


def test_an_item_that_is_listed_twice_has_its_first_text(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, "title", [HEAD, *ROWS, "7\tBlue\t1\t"])
    assert read_item_texts(settings, ["7"]) == ["Red Nail Polish"]


def test_a_lone_quote_belongs_to_its_text(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, "title", [HEAD, '7\t"Weird Al: UHF\t1.5\t', *ROWS[1:]])
    assert read_item_texts(settings, ["7", "9"]) == ['"Weird Al: UHF', "NA"]


@pytest.mark.parametrize(
    ("head", "titles"),
    [
        ("item_id:token\ttitle:token_seq\tname:token", ["A", ""]),
        ("item_id:token\tname:token\tmovie_title:token_seq", ["B", "C"]),  # MovieLens in RecBole's own files
        ("item_id:token\tbrand:token\ttitle:float_seq", ["", ""]),
        (None, ["", ""]),
    ],
)
def test_titles_are_found_by_the_name_of_their_column(tmp_path: Path, head: str | None, titles: list[str]) -> None:
    settings = settings_of(tmp_path, "none", None if head is None else [head, "7\tA\tB", "8\t\tC"])
    assert read_titles(settings, ["7", "8"]) == titles


@pytest.mark.parametrize("wanted", ["none", None])
def test_the_paper_has_no_text_and_needs_no_file(tmp_path: Path, wanted: Any) -> None:
    settings = settings_of(tmp_path, wanted, lines=None)
    check_item_text(settings)
    assert settings.columns == []
    assert item_text_content(settings, ["7"]) == {}


def test_a_recipe_depends_on_the_texts_of_the_items_it_is_for(tmp_path: Path) -> None:
    recipe = item_text_content(settings_of(tmp_path, "title"), ["7"])
    assert recipe == item_text_content(settings_of(tmp_path, "title", [HEAD, ROWS[0], "8\tnew\t1\t"]), ["7"])
    assert recipe != item_text_content(settings_of(tmp_path, "title", [HEAD, "7\tnew\t1\t"]), ["7"])


# what goes wrong


def test_a_missing_file_names_the_key_and_the_cure(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"prompt_item_text \[title\] needs .*toy\.item.* set prompt_item_text to none"
    ):
        check_item_text(settings_of(tmp_path, "title", lines=None))


@pytest.mark.parametrize("wanted", ["genre", "price", "title,genre"])
def test_a_missing_column_or_one_of_numbers_names_those_of_text(tmp_path: Path, wanted: str) -> None:
    with pytest.raises(ValueError, match=r"no column of text \[(genre|price)\]; .* some of title, categories$"):
        check_item_text(settings_of(tmp_path, wanted))


def test_a_file_without_text_says_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"some of nothing: it has none"):
        check_item_text(settings_of(tmp_path, "title", ["item_id:token\tprice:float"]))


def test_a_file_of_other_items_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no text of any item of the dataset in title; choose other columns"):
        read_item_texts(settings_of(tmp_path, "title"), ["i7"])


@pytest.mark.parametrize("wanted", [7, ["title", 7]])
def test_what_is_no_name_is_refused(tmp_path: Path, wanted: Any) -> None:
    with pytest.raises(ConfigError, match=r"prompt_item_text must be none, a column of the \.item file or several"):
        settings_of(tmp_path, wanted)


# which tokens


def test_a_text_is_cut_and_the_pad_has_none() -> None:
    """One token a byte."""
    tokenizer = byte_level_tokenizer()
    text = tokenise_item_texts(tokenizer, ["ab", "", "x" * 100])
    assert text.counts.tolist() == [0, 2, 0, MOST_TEXT_TOKENS]
    assert text.longest == MOST_TEXT_TOKENS
    assert tokenizer.decode(text.tokens) == "ab" + "x" * MOST_TEXT_TOKENS


def test_rows_may_come_in_any_order_and_several_times() -> None:
    text = ItemText.of([[], [1, 2], [3], [4, 5, 6]]).rows(torch.tensor([3, 0, 1, 3]))
    assert text.tokens.tolist() == [4, 5, 6, 1, 2, 4, 5, 6]
    assert text.counts.tolist() == [3, 0, 2, 3]


def test_tokens_of_users_are_those_of_their_items() -> None:
    """The first user has items with 2 and 1 tokens, the second none, the third one with 3."""
    text = ItemText.of([[1, 2], [3], [4, 5, 6]])
    assert text.tokens_of(torch.tensor([2, 0, 1])).tolist() == [3, 0, 3]
