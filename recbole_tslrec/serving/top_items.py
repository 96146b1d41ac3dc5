"""The k best items of each row, from scores that come in chunks of items: no matrix of users and items is held.

The items are those of a plain top-k over all scores. Of equal scores the smaller item id comes first, as in
``sequential/ranking.py``; torch's ``topk`` leaves that open.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from recbole_tslrec.sequential.ranking import portions_of, queries

_GROUP = 64  # items whose largest score is compared with the k-th best so far, before any of them is looked at


class Chunk(NamedTuple):
    """The scores of the items ``first, first + 1, ...``, [B, C]; what takes them may write into them."""

    first: int
    scores: Tensor


class LeftOut:
    """The items that are not to be ranked, by chunk.

    Args:
        histories: item ids of each row.
        device: where scores are.
    """

    def __init__(self, histories: Sequence[Sequence[int]], device: torch.device) -> None:
        lengths = torch.tensor([len(items) for items in histories], dtype=torch.int64)
        items = torch.tensor(list(chain.from_iterable(histories)), dtype=torch.int64)
        order = items.argsort()
        self._sorted = items[order]
        self._item = self._sorted.to(device)
        self._row = torch.arange(len(histories)).repeat_interleave(lengths)[order].to(device)

    def leave_out_of(self, chunk: Chunk) -> None:
        """Put the items of each row's history behind all others."""
        edges = torch.tensor([chunk.first, chunk.first + chunk.scores.shape[1]])
        start, stop = torch.searchsorted(self._sorted, edges).tolist()
        chunk.scores[self._row[start:stop], self._item[start:stop] - chunk.first] = -torch.inf


class TopItems:
    """The k best of each row so far, of what was settled.

    Args:
        rows: B.
        k: how many.
        like: decides type and device of the scores.

    Attributes:
        scores: best first, [B, k]; minus infinity where there were fewer.
        items: their ids, int64 [B, k].
    """

    def __init__(self, rows: int, k: int, like: Tensor) -> None:
        self.scores = like.new_full((rows, k), -torch.inf)
        self.items = torch.zeros(rows, k, dtype=torch.int64, device=like.device)
        self._found: list[tuple[Tensor, Tensor, Tensor]] = []  # rows, scores, items that are still to be sorted in

    def add(self, chunk: Chunk) -> None:
        """Take in a chunk of items with larger ids than those before."""
        missing = -chunk.scores.shape[1] % _GROUP
        scores = pad(chunk.scores, (0, missing), value=-torch.inf) if missing else chunk.scores
        grouped = scores.view(len(scores), -1, _GROUP)
        largest = grouped.amax(dim=2)  # [B, groups]
        least = self.scores[:, -1:]  # [B, 1]; an equal one with a larger id comes behind it
        row, group = (~(largest <= least)).nonzero(as_tuple=True)  # with groups in which one is no number
        if len(row) > largest.numel() // 2:  # the first chunk: what its own best leave behind need not be looked at
            bound = _kth(largest if largest.shape[1] >= self.items.shape[1] else scores, self.items.shape[1])
            least = torch.maximum(least, bound.nextafter(bound.new_tensor(-torch.inf)))
            row, group = (~(largest <= least)).nonzero(as_tuple=True)
        found = grouped[row, group]  # [P, G]
        pair, place = (found > least[row]).nonzero(as_tuple=True)
        self._found.append((row[pair], found[pair, place], chunk.first + group[pair] * _GROUP + place))
        if 2 * sum(len(rows) for rows, _, _ in self._found) >= self.items.numel():
            self.settle()

    def settle(self) -> None:
        """Sort in what was found."""
        if not self._found:
            return
        row, score, item = (torch.cat(parts) for parts in zip(*self._found, strict=True))
        self._found.clear()
        row, order = row.sort(stable=True)  # within a row the ids rise
        count = torch.bincount(row, minlength=len(self.scores))
        place = torch.arange(len(row), device=row.device) - (count.cumsum(0) - count)[row]
        width, k = int(count.max()), self.scores.shape[1]
        scores = torch.cat([self.scores, self.scores.new_full((len(count), width), -torch.inf)], dim=1)
        items = torch.cat([self.items, self.items.new_zeros(len(count), width)], dim=1)
        scores[row, k + place], items[row, k + place] = score[order], item[order]
        best = scores.sort(dim=1, descending=True, stable=True).indices[:, :k]  # smaller ids stand before larger ones
        self.scores, self.items = scores.gather(1, best), items.gather(1, best)


def _kth(values: Tensor, k: int) -> Tensor:
    """The k-th largest number of each row, [B, 1]; minus infinity where a row has fewer."""
    if values.shape[1] < k:
        return values.new_full((len(values), 1), -torch.inf)
    return values.where(values == values, -torch.inf).topk(k, dim=1).values[:, -1:]


def best_items(chunks: Iterable[Chunk], k: int, left_out: LeftOut | None = None) -> tuple[Tensor, Tensor]:
    """The k best items of each row.

    Args:
        chunks: all items, in the order of their ids.
        k: how many.
        left_out: the items of the rows' histories, if they are not to be ranked.

    Returns:
        Scores, best first, [B, k], and item ids, int64 [B, k].

    Raises:
        ValueError: fewer than k items of a row have a score that is a finite number.
    """
    best: TopItems | None = None
    for chunk in chunks:
        if left_out is not None:
            left_out.leave_out_of(chunk)
        best = best or TopItems(len(chunk.scores), k, chunk.scores)
        best.add(chunk)
    assert best is not None
    best.settle()
    if not best.scores.isfinite().all():
        raise ValueError(
            f"the model gives fewer than k [{k}] items a score that is a number; it has to be trained anew"
        )
    return best.scores, best.items


def scores_in_chunks(model: Any, interaction: Any) -> Iterator[Chunk]:
    """The scores of the items 1..N, chunk by chunk; up to 65,536 items on a CPU they are ``full_sort_predict``'s.

    Args:
        model: in evaluation mode.
        interaction: B rows, on the model's device.
    """
    table = model.output_table if getattr(model, "scores_are_products", False) else None
    portions = portions_of(interaction[model.ITEM_SEQ].device)
    if table is None or len(table) - 1 <= portions.whole:
        yield Chunk(1, model.full_sort_predict(interaction).view(len(interaction), -1)[:, 1:])
        return
    query = queries(model, interaction[model.ITEM_SEQ], interaction[model.ITEM_SEQ_LEN])  # [B, d]
    for first in range(1, len(table), portions.chunk):
        yield Chunk(first, query @ table[first : first + portions.chunk].T)
