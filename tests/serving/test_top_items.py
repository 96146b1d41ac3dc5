"""The best items in chunks are those of one sort of all scores, the smaller id first where scores are equal."""

from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from recbole_tslrec.sequential import ranking
from recbole_tslrec.serving.top_items import Chunk, LeftOut, best_items, scores_in_chunks

CPU = torch.device("cpu")


def chunks(scores: Tensor, size: int) -> Iterator[Chunk]:
    """Copies, since items are left out of them."""
    for start in range(0, scores.shape[1], size):
        yield Chunk(start + 1, scores[:, start : start + size].clone())


def by_one_sort(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    best = scores.sort(dim=1, descending=True, stable=True)
    return best.values[:, :k], best.indices[:, :k] + 1


def random_scores(kind: str) -> Tensor:
    random = torch.Generator().manual_seed(0)
    if kind == "all alike":
        return torch.ones(7, 1000)
    if kind == "ties":
        return torch.randint(-3, 3, (7, 1000), generator=random).float()
    scores = torch.randn(7, 1000, generator=random)
    return scores.sort(dim=1, descending=kind == "falling").values if kind in ("rising", "falling") else scores


@pytest.mark.parametrize("kind", ["none alike", "ties", "all alike", "rising", "falling"])
@pytest.mark.parametrize("size", [1, 63, 130, 1000])
@pytest.mark.parametrize("k", [1, 10, 200])
def test_the_items_are_those_of_one_sort(kind: str, size: int, k: int) -> None:
    scores = random_scores(kind)
    found, items = best_items(chunks(scores, size), k)
    expected, expected_items = by_one_sort(scores, k)
    assert torch.equal(items, expected_items)
    assert torch.equal(found, expected)


@pytest.mark.parametrize("size", [100, 1000])
def test_items_of_histories_are_left_out(size: int) -> None:
    scores = random_scores("ties")
    histories = [by_one_sort(scores[row : row + 1], 20 * row)[1][0].tolist() for row in range(7)]  # the first has none
    expected = scores.clone()
    for row, history in enumerate(histories):
        expected[row, torch.tensor(history, dtype=torch.int64) - 1] = -torch.inf
    _, items = best_items(chunks(scores, size), 15, LeftOut(histories, CPU))
    assert torch.equal(items, by_one_sort(expected, 15)[1])


def test_scores_that_are_no_numbers_are_refused() -> None:
    scores = torch.ones(2, 5)
    scores[1, 2:] = torch.nan
    assert best_items(chunks(scores, 3), 2)[1].tolist() == [[1, 2], [1, 2]]
    with pytest.raises(ValueError, match=r"fewer than k \[3\] items a score that is a number"):
        best_items(chunks(scores, 3), 3)


def test_a_large_table_is_multiplied_chunk_by_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ranking._PORTIONS, "cpu", ranking.Portions(scores=64, whole=8, chunk=4))
    table, query = torch.arange(22.0).view(11, 2), torch.tensor([[1.0, 0.0], [0.0, -1.0]])
    model = SimpleNamespace(
        scores_are_products=True, output_table=table, ITEM_SEQ="seq", ITEM_SEQ_LEN="len", forward=lambda *_: query
    )
    found = list(scores_in_chunks(model, {"seq": torch.ones(2, 1, dtype=torch.int64), "len": torch.ones(2)}))
    assert [chunk.first for chunk in found] == [1, 5, 9]
    assert torch.equal(torch.cat([chunk.scores for chunk in found], dim=1), (query @ table.T)[:, 1:])
