"""A dataset's .item file by the items' tokens."""

from pathlib import Path

from recbole_tslrec.data.item_file import read_item_file


def test_rows_are_named_by_token_and_the_first_of_a_token_counts(tmp_path: Path) -> None:
    """A lone quote and an empty text stay as they are, and a number is text."""
    path = tmp_path / "shop.item"
    path.write_text('title:token_seq\titem:token\tyear:float\n7" vinyl\t01\t1999\n\t2\tNA\nother\t01\t2000\n')
    table = read_item_file(path, "item", "\t", "utf-8")
    assert table.index.tolist() == ["01", "2"]
    assert table["title:token_seq"].tolist() == ['7" vinyl', ""]
    assert table["year:float"].tolist() == ["1999", "NA"]
    assert read_item_file(path, "item", "\t", "utf-8", ["year:float"]).columns.tolist() == ["year:float"]
