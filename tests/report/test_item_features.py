"""Titles and labels of items, by token."""

from pathlib import Path

import pytest

from recbole_tslrec.experiments.command import Command
from recbole_tslrec.report.item_features import item_labels, item_titles


def write_items(folder: Path, text: str) -> None:
    (folder / "data" / "toy").mkdir(parents=True)
    (folder / "data" / "toy" / "toy.item").write_text(text)


@pytest.mark.parametrize("column", ["categories:token_seq", "class:token_seq", "genre:token"])
def test_the_label_is_the_commonest_that_at_most_half_of_the_items_have(
    column: str, tmp_path: Path, toy_command: Command
):
    write_items(
        tmp_path,
        f"item_id:token\ttitle:token_seq\t{column}\n"
        "a\tA\tFood Bar Wine\n"  # Food: 3 of 4 items, Bar 2, Wine 1
        "b\tB\tFood Bar\n"
        "c\tC\tFood\n"
        "d\tD\t\n",
    )
    labels = item_labels(toy_command.config(), ["d", "c", "b", "a"])
    assert labels == ["", "Food", "Bar", "Bar"]


def test_titles_are_found_by_token(tmp_path: Path, toy_command: Command):
    write_items(tmp_path, 'item_id:token\tmovie_title:token_seq\nx\tSay "Anything\ny\tHeat\n')
    assert item_titles(toy_command.config(), ["y", "lacking", "x"]) == ["Heat", "", 'Say "Anything']


def test_without_an_item_file_there_are_no_titles(toy_command: Command):
    assert item_titles(toy_command.config(), ["a", "b"]) == ["", ""]
