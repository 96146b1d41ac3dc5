"""Constrained beam search against all items scored one by one."""

import itertools

import pytest
import torch
from torch import Tensor

from recbole_tslrec.baselines.beam_search import beam_search
from recbole_tslrec.baselines.item_trie import ItemTrie

VOCABULARY = 9
# twelve items of one to three tokens; token 8 begins none
ITEMS = [[0], *([1, a] for a in range(2, 6)), *([7, a, b] for a, b in itertools.product((2, 3), (4, 5, 6))), [6]]


class Sequences:
    """A model whose log-probabilities are random numbers of the row and of all tokens before."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.beams: list[list[tuple[int, ...]]] = [[()] for _ in range(rows)]

    def log_probability(self, row: int, tokens: tuple[int, ...]) -> Tensor:
        """Of each next token, [V]."""
        generator = torch.Generator().manual_seed(hash((row, tokens)) % 2**31)
        return torch.randn(VOCABULARY, generator=generator, dtype=torch.float64).mul(2).log_softmax(dim=0)

    def __call__(self, origin: Tensor | None, token: Tensor | None) -> Tensor:
        if origin is not None and token is not None:
            pairs = zip(self.beams, origin.tolist(), token.tolist(), strict=True)
            self.beams = [[(*own[o], t) for o, t in zip(os, ts, strict=True)] for own, os, ts in pairs]
        return torch.stack(
            [torch.stack([self.log_probability(row, tokens) for tokens in own]) for row, own in enumerate(self.beams)]
        )


def one_by_one(rows: int) -> Tensor:
    """The log-probability of every item for each row, [rows, 12]."""
    model = Sequences(rows)
    found = torch.zeros(rows, len(ITEMS), dtype=torch.float64)
    for row, (place, item) in itertools.product(range(rows), enumerate(ITEMS)):
        found[row, place] = sum(model.log_probability(row, tuple(item[:t]))[item[t]] for t in range(len(item)))
    return found


@pytest.mark.parametrize("beams", [12, 20])
def test_with_as_many_beams_as_items_it_is_the_full_ranking(beams: int) -> None:
    found = beam_search(Sequences(5), ItemTrie.of(ITEMS), 5, beams)
    expected = one_by_one(5).sort(dim=1, descending=True)
    assert found.item[:, :12].tolist() == (expected.indices + 1).tolist()
    torch.testing.assert_close(found.log_probability[:, :12], expected.values, rtol=0, atol=1e-6)
    assert not found.item[:, 12:].any()
    assert found.log_probability[:, 12:].isneginf().all()


def test_few_beams_find_items_with_their_own_probability_and_none_twice() -> None:
    found = beam_search(Sequences(8), ItemTrie.of(ITEMS), 8, beams=4)
    expected = one_by_one(8)
    assert (found.item > 0).all()
    assert all(len(set(row)) == 4 for row in found.item.tolist())
    torch.testing.assert_close(found.log_probability, expected.gather(1, found.item - 1), rtol=0, atol=1e-6)
    assert (found.log_probability.diff(dim=1) <= 0).all()


def test_one_beam_is_greedy() -> None:
    """At each step the most probable of the tokens that lead to an item."""
    model, trie = Sequences(6), ItemTrie.of(ITEMS)
    found = beam_search(Sequences(6), trie, 6, beams=1)
    for row in range(6):
        tokens: tuple[int, ...] = ()
        while list(tokens) not in ITEMS:
            allowed = sorted({item[len(tokens)] for item in ITEMS if item[: len(tokens)] == list(tokens)})
            tokens += (max(allowed, key=model.log_probability(row, tokens).__getitem__),)
        assert ITEMS[int(found.item[row, 0]) - 1] == list(tokens)
