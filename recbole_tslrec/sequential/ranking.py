"""The rank of every user's held-out item among all items, in chunks of users and items.

RecBole holds users x items of scores, and as many integers to mark the target (RecBole#1040). All that its metrics need
is the target's rank, which chunks can count. Scores, and so ranks, are those that RecBole compares.

Ties (RecBole leaves them to the sort): of equal scores the smaller item id comes first. A score that is no
number counts as better than the target, and a target with such a score comes last, so that a diverged model looks bad.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Portions(NamedTuple):
    """How many scores are held at once, up to how many items a row is whole, and the items of a chunk beyond that."""

    scores: int
    whole: int
    chunk: int


# On a CPU what fits its cache: with d 64 on an AMD EPYC 2.7 times as fast as 2^24 scores with 12,101 items, 3.3 times
# with 300,000. Rows are whole as far as possible, since their rounding is then that of RecBole's product.
_PORTIONS = {"cpu": Portions(2**20, 2**16, 2**12)}
_ELSEWHERE = Portions(2**24, 2**18, 2**18)
_MODEL_SCORES = 2**24  # where the model itself scores all items: a forward pass of few rows would be slow
_ROWS_TOGETHER = 256  # histories of like length that a causal backbone reads together


def portions_of(device: torch.device) -> Portions:
    """What a device is given at once."""
    return _PORTIONS.get(device.type, _ELSEWHERE)


@dataclass(frozen=True)
class Seen:
    """The items that rows have had before their targets, each once and the target itself left out.

    Attributes:
        row: int64 [n], ascending.
        item: item ids, int64 [n].
    """

    row: Tensor
    item: Tensor

    def of(self, rows: slice) -> "Seen":
        """The part of the rows ``rows``, counted from their first."""
        start, stop = torch.searchsorted(self.row, self.row.new_tensor([rows.start, rows.stop])).tolist()
        return Seen(self.row[start:stop] - rows.start, self.item[start:stop])


@dataclass(frozen=True)
class ScoreBlock:
    """The scores of some rows for some items.

    Attributes:
        rows: a slice with a start and a stop.
        first: id of the first item.
        scores: the scores of the items ``first, first + 1, ...``, [rows, C].
        own: the targets' scores, [rows, 1].
    """

    rows: slice
    first: int
    scores: Tensor
    own: Tensor


@torch.no_grad()
def target_ranks(model: Any, interaction: Any, target: Tensor) -> Tensor:
    """The rank of each row's target among the items 1..N, the history not masked.

    Args:
        model: a sequential model in evaluation mode.
        interaction: B rows, on the model's device.
        target: item ids, int64 [B], on the model's device.

    Returns:
        Ranks from 1, int64 [B].
    """
    return _ranks(score_blocks(model, interaction, target), target)


@torch.no_grad()
def ranks_and_seen(model: Any, interaction: Any, target: Tensor, seen: Seen) -> tuple[Tensor, Tensor]:
    """The ranks of :func:`target_ranks` and, from the same scores, how many seen items come before the target.

    Args:
        model: a sequential model in evaluation mode.
        interaction: B rows, on the model's device.
        target: item ids, int64 [B], on the model's device.
        seen: the seen items of the same rows, on the model's device.

    Returns:
        Ranks from 1 with the seen items in the ranking, int64 [B], and the number of seen items among those before the
        target, int64 [B]. The difference is the rank without them.
    """
    before, seen_before = torch.zeros_like(target), torch.zeros_like(target)
    for block in score_blocks(model, interaction, target):
        rows = block.rows
        before[rows] += count_before(block.scores, block.own, target[rows], block.first)
        seen_before[rows] += count_seen_before(block, target[rows], seen.of(rows))
    return 1 + before, seen_before


def score_blocks(model: Any, interaction: Any, target: Tensor) -> Iterator[ScoreBlock]:
    """The scores that RecBole compares, block by block, from one forward pass."""
    if getattr(model, "scores_are_products", False):
        query = queries(model, interaction[model.ITEM_SEQ], interaction[model.ITEM_SEQ_LEN])  # [B, d]
        yield from _blocks_by_table(query, model.output_table, target)
        return
    for rows in _slices(len(target), max(1, _MODEL_SCORES // model.n_items)):
        scores = model.full_sort_predict(interaction[rows]).view(len(target[rows]), -1)[:, 1:]  # [rows, N]
        yield ScoreBlock(rows, 1, scores, scores.gather(1, target[rows].unsqueeze(1) - 1))


def queries(model: Any, item_seq: Tensor, item_seq_len: Tensor) -> Tensor:
    """What a model multiplies with its item table, [B, d].

    A causal backbone reads its last position, which does not see the pads behind it: histories are sorted by length and
    cut to the longest of a few.

    Args:
        model: whose scores are products with its item table.
        item_seq: item ids, pads behind, int64 [B, L].
        item_seq_len: int64 [B].
    """
    if not getattr(model, "is_causal", False):
        query: Tensor = model.forward(item_seq, item_seq_len)
        return query
    order = item_seq_len.argsort(stable=True)
    parts = [
        model.forward(item_seq[rows, : int(item_seq_len[rows[-1]])], item_seq_len[rows])
        for rows in torch.split(order, _ROWS_TOGETHER)
    ]
    return torch.cat(parts)[order.argsort()]


def ranks_by_table(query: Tensor, table: Tensor, target: Tensor) -> Tensor:
    """Ranks where scores are products with a table.

    Args:
        query: [B, d].
        table: [N + 1, d]; row 0 is the pad.
        target: int64 [B].

    Returns:
        Ranks from 1, int64 [B].
    """
    return _ranks(_blocks_by_table(query, table, target), target)


def _ranks(blocks: Iterator[ScoreBlock], target: Tensor) -> Tensor:
    before = torch.zeros_like(target)
    for block in blocks:
        before[block.rows] += count_before(block.scores, block.own, target[block.rows], block.first)
    return 1 + before


def _slices(length: int, most: int) -> Iterator[slice]:
    """Slices of about one length."""
    step = -(-length // max(1, -(-length // most)))
    for start in range(0, length, max(1, step)):
        yield slice(start, min(start + step, length))


def _blocks_by_table(query: Tensor, table: Tensor, target: Tensor) -> Iterator[ScoreBlock]:
    portions, items = portions_of(query.device), len(table) - 1
    items = items if items <= portions.whole else portions.chunk
    for rows in _slices(len(target), max(1, portions.scores // items)):
        yield from _blocks_of_rows(rows, query[rows], target[rows], table, items)


def _blocks_of_rows(rows: slice, query: Tensor, target: Tensor, table: Tensor, items: int) -> Iterator[ScoreBlock]:
    if items == len(table) - 1:
        scores = (query @ table.T)[:, 1:]  # [rows, N]; RecBole's product, so that its rounding is the same
        yield ScoreBlock(rows, 1, scores, scores.gather(1, target.unsqueeze(1) - 1))
        return
    own = (query * table[target]).sum(dim=1, keepdim=True)  # [rows, 1]
    for first, chunk in _chunks(table, items):
        scores = query @ chunk.T
        inside = ((target >= first) & (target < first + len(chunk))).nonzero().squeeze(1)
        scores[inside, target[inside] - first] = own[inside, 0]  # rounded as `own` is, or it might beat itself
        yield ScoreBlock(rows, first, scores, own)


def _chunks(table: Tensor, items: int) -> Iterator[tuple[int, Tensor]]:
    """(first item id, its rows) of each chunk."""
    for first in range(1, len(table), items):
        yield first, table[first : first + items]


def count_before(scores: Tensor, own: Tensor, target: Tensor, first: int) -> Tensor:
    """How many items of a chunk come before the target.

    Args:
        scores: the scores of the items ``first, first + 1, ...``, [B, C].
        own: the target's score, [B, 1].
        target: item ids, int64 [B].
        first: id of the first item.

    Returns:
        int64 [B].
    """
    # 0 and 1 in float32: their sums are 40 times faster than those of truth values, and exact below 2^24
    held = torch.empty_like(scores, dtype=torch.float32)
    not_above = torch.le(scores, own, out=held).sum(dim=1).long()
    equal = not_above - torch.lt(scores, own, out=held).sum(dim=1).long()
    before = scores.shape[1] - not_above  # what is no number is not counted there, so it counts as better
    tied = (equal > 0).nonzero().squeeze(1)  # its own score is equal; with others it is a tie
    inside = (target[tied] >= first) & (target[tied] < first + scores.shape[1])
    tied = tied[equal[tied] > inside.long()]
    if len(tied):
        ids = torch.arange(first, first + scores.shape[1], device=scores.device)
        smaller = (scores[tied] == own[tied]) & (ids < target[tied].unsqueeze(1))
        before[tied] += smaller.sum(dim=1)
    return before


def count_seen_before(block: ScoreBlock, target: Tensor, seen: Seen) -> Tensor:
    """How many seen items of a block come before the target, by the rule of :func:`count_before`.

    Args:
        block: the block of R rows.
        target: item ids, int64 [R].
        seen: the seen items of these rows.

    Returns:
        int64 [R].
    """
    inside = (seen.item >= block.first) & (seen.item < block.first + block.scores.shape[1])
    row, item = seen.row[inside], seen.item[inside]
    score, own = block.scores[row, item - block.first], block.own[row, 0]
    before = ~(score <= own) | ((score == own) & (item < target[row]))
    return torch.bincount(row[before], minlength=len(target))


def hits(ranks: Tensor, cutoff: int) -> Tensor:
    """RecBole's ``rec.topk`` of one target each: whether place 1..``cutoff`` holds it, then the number of targets.

    Args:
        ranks: int64 [B].
        cutoff: the longest list.

    Returns:
        int64 [B, cutoff + 1].
    """
    places = torch.arange(1, cutoff + 1, device=ranks.device)
    return torch.cat(
        [places == ranks.unsqueeze(1), torch.ones_like(ranks, dtype=torch.bool).unsqueeze(1)], dim=1
    ).long()
