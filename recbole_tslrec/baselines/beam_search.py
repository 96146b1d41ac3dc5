"""Beam search over the tree of items: the items that a model generates with the highest probability."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from recbole_tslrec.baselines.item_trie import ROOT, ItemTrie

# beams that each goes on from, int64 [B, k], and the tokens they end with, int64 [B, k] (None at the start, k = 1) ->
# log-probabilities of the next token over the whole vocabulary, [B, k, V]
NextToken = Callable[[Tensor | None, Tensor | None], Tensor]


class Beams(NamedTuple):
    """The generated items of each row, best first.

    Attributes:
        item: item ids, int64 [B, k]; 0 where the tree has fewer items.
        log_probability: of the item's tokens, [B, k]; minus infinity there.
    """

    item: Tensor
    log_probability: Tensor


@torch.no_grad()
def beam_search(next_token: NextToken, trie: ItemTrie, rows: int, beams: int) -> Beams:
    """The ``beams`` best items of each row; with as many beams as items, all of them in their exact order.

    A beam that has reached an item waits with its probability, which can only be reached by others from above. No item
    is found twice, since each has one sequence. Probabilities are over the whole vocabulary, and are not divided by the
    length.

    Args:
        next_token: the model; it keeps what it has computed of the beams that go on.
        trie: the items.
        rows: B.
        beams: k.
    """
    device = trie.item.device
    node = torch.full((rows, 1), ROOT, device=device)  # [B, beams so far]
    total = torch.zeros(rows, 1, device=device)
    origin: Tensor | None = None
    token: Tensor | None = None
    while bool((trie.item[node] == 0).logical_and(total.isfinite()).any()):
        log_probability = next_token(origin, token)[:, :, trie.tokens].to(total.device)  # [B, beams, S]
        waits = (trie.item[node] > 0).unsqueeze(2)  # [B, beams, 1]
        children = trie.children[node]  # [B, beams, S]
        goes_on = (total.unsqueeze(2) + log_probability).masked_fill((children < 0) | waits, -torch.inf)
        candidates = torch.cat(
            [goes_on, total.unsqueeze(2).masked_fill(~waits, -torch.inf)], dim=2
        )  # [B, beams, S + 1]
        choices = candidates.shape[2]
        best = candidates.flatten(1).topk(min(beams, candidates[0].numel()), dim=1)
        total = best.values
        origin, column = best.indices // choices, best.indices % choices
        stays = column == choices - 1
        column = column.clamp(max=choices - 2)
        reached = children.flatten(1).gather(1, origin * (choices - 1) + column)
        node = torch.where(stays | (reached < 0), node.gather(1, origin), reached)
        token = trie.tokens[column]
    item = torch.where(total.isfinite(), trie.item[node], 0)
    return Beams(_to_width(item, beams, 0), _to_width(total, beams, -torch.inf))


def _to_width(values: Tensor, width: int, fill: float) -> Tensor:
    return torch.nn.functional.pad(values, (0, width - values.shape[1]), value=fill)
