"""The tree of items: what may follow, where items end, and sequences that cannot be told apart."""

import pytest

from recbole_tslrec.baselines.item_trie import ROOT, ItemTrie


def test_children_and_items_stand_at_their_nodes() -> None:
    """7 5 is item 1, 7 9 item 2, 8 item 3."""
    trie = ItemTrie.of([[7, 5], [7, 9], [8]])
    assert trie.tokens.tolist() == [5, 7, 8, 9]
    seven, eight = trie.children[ROOT, 1], trie.children[ROOT, 2]
    assert trie.children[ROOT, [0, 3]].tolist() == [-1, -1]
    assert trie.item[[int(eight), ROOT, int(seven)]].tolist() == [3, 0, 0]
    assert trie.item[trie.children[seven, [0, 3]]].tolist() == [1, 2]
    assert trie.item_count == 3


@pytest.mark.parametrize(
    ("sequences", "message"),
    [
        ([[1, 2], [3], [1, 2]], "items 1 and 3 have the same tokens"),
        ([[1, 2], [1]], "the tokens of item 2, .1., begin those of another item"),
        ([[1], [1, 2]], "the tokens of item 1, .1., begin those of another item"),
        ([[1], []], "item"),
    ],
)
def test_sequences_that_cannot_be_told_apart_are_refused(sequences: list[list[int]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ItemTrie.of(sequences)
