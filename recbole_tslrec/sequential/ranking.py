"""The rank of every user's held-out item among all items, in chunks of users and items.

RecBole holds users x items of scores, and as many integers to mark the target (RecBole#1040). All that its metrics need
is the target's rank, which chunks can count. Scores, and so ranks, are those that RecBole compares.

Tie rule (ours; RecBole leaves it to the sort): of equal scores the smaller item id comes first. A score that is no
number counts as better than the target, and a target with such a score comes last, so that a diverged model looks bad.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from recbole_tslrec.model.backbones import backbone_of

_SCORES = 2**24  # held at once: 64 MiB
_MOST_ITEMS = 2**18  # of a chunk
_ROWS_TOGETHER = 256  # histories of like length that a causal backbone reads together


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
    if backbone_of(type(model)).dot:
        query = queries(model, interaction[model.ITEM_SEQ], interaction[model.ITEM_SEQ_LEN])  # [B, d]
        return ranks_by_table(query, model.item_embedding.weight, target)
    rows = max(1, _SCORES // model.n_items)
    ranks = []
    for start in range(0, len(interaction), rows):
        part = slice(start, start + rows)
        scores = model.full_sort_predict(interaction[part]).view(len(target[part]), -1)[:, 1:]  # [rows, N]
        own = scores.gather(1, target[part].unsqueeze(1) - 1)
        ranks.append(1 + count_before(scores, own, target[part], 1))
    return torch.cat(ranks)


def queries(model: Any, item_seq: Tensor, item_seq_len: Tensor) -> Tensor:
    """What a model multiplies with its item table, [B, d].

    A causal backbone reads its last position, which does not see the pads behind it: histories are sorted by length and
    cut to the longest of a few.

    Args:
        model: whose scores are products with its item table.
        item_seq: item ids, pads behind, int64 [B, L].
        item_seq_len: int64 [B].
    """
    if not backbone_of(type(model)).causal:
        query: Tensor = model.forward(item_seq, item_seq_len)
        return query
    order = item_seq_len.argsort()
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
    items = min(len(table) - 1, _MOST_ITEMS)
    rows = max(1, _SCORES // items)
    parts = zip(torch.split(query, rows), torch.split(target, rows), strict=True)
    return torch.cat([_ranks_of_rows(*part, table, items) for part in parts])


def _ranks_of_rows(query: Tensor, target: Tensor, table: Tensor, items: int) -> Tensor:
    if items == len(table) - 1:
        scores = (query @ table.T)[:, 1:]  # [rows, N]; RecBole's product, so that its rounding is the same
        return 1 + count_before(scores, scores.gather(1, target.unsqueeze(1) - 1), target, 1)
    own = (query * table[target]).sum(dim=1, keepdim=True)  # [rows, 1]
    before = torch.zeros_like(target)
    for first, chunk in _chunks(table, items):
        scores = query @ chunk.T
        inside = ((target >= first) & (target < first + len(chunk))).nonzero().squeeze(1)
        scores[inside, target[inside] - first] = own[inside, 0]  # rounded as `own` is, or it might beat itself
        before += count_before(scores, own, target, first)
    return 1 + before


def _chunks(table: Tensor, items: int) -> Iterator[tuple[int, Tensor]]:
    """(first item id, its rows) of each chunk."""
    for first in range(1, len(table), items):
        yield first, table[first : first + items]


def count_before(scores: Tensor, own: Tensor, target: Tensor, first: int) -> Tensor:
    """How many items of a chunk come before the target.

    Args:
        scores: of the items ``first, first + 1, ...``, [B, C].
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
