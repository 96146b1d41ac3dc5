"""Caser (Tang and Wang, WSDM 2018) as RecBole has it, with its filters computed as products, where there are items.

RecBole slides filters of every height 1..L over all L positions of a row, most of which are pads. Here a filter is
computed for the windows that begin at an item, as far as their items go; what pads add to a window is one number for a
filter. Parameters, results and the random numbers of dropout are RecBole's.
"""

from collections.abc import Iterator
from typing import Any

import torch
from recbole.model import sequential_recommender
from torch import Tensor, nn
from torch.nn import functional

from recbole_tslrec.compute.autocast import computing_dtype

_WINDOWS_AT_ONCE = 2**22  # numbers of gathered windows: 16 MiB in float32


class Caser(sequential_recommender.Caser):  # type: ignore[misc]  # RecBole is untyped
    """RecBole's Caser, faster where rows are longer than histories."""

    def forward(self, user: Tensor, item_seq: Tensor) -> Tensor:
        """Users [B] and item ids [B, L], pads behind -> the vectors that are multiplied with the items', [B, d]."""
        found = torch.cat([self.vertical(item_seq), self.horizontal(item_seq)], dim=1)
        inner = self.ac_fc(self.fc1(self.dropout(found)))  # [B, d]
        vector: Tensor = self.ac_fc(self.fc2(torch.cat([inner, self.user_embedding(user)], dim=1)))
        return vector

    def vertical(self, item_seq: Tensor) -> Tensor:
        """Weighted sums over the positions, as products: [B, L] -> [B, n_v * d]."""
        weight, bias = self.conv_v.weight[:, 0, :, 0], self.conv_v.bias  # [n_v, L], [n_v]
        sums: Tensor = weight @ self.item_embedding(item_seq) + bias.unsqueeze(1)  # [B, n_v, d]
        return sums.flatten(1)

    def horizontal(self, item_seq: Tensor) -> Tensor:
        """The largest output of each horizontal filter after ReLU, F = n_h * L by height: [B, L] -> [B, F].

        With p the pad's embedding, a window's output is the filter times (its rows - p), which is 0 at pads, plus the
        filter times p at all its rows, plus the bias. RecBole initialises p like any other row.
        """
        longest = item_seq.shape[1]
        weight, bias = stacked(self.conv_h)  # [F, L, d], [F]
        height = torch.arange(1, longest + 1, device=item_seq.device).repeat_interleave(self.n_h)  # [F]
        pad = self.item_embedding(item_seq.new_zeros(1))  # [1, d]
        of_pads = functional.linear(pad, weight.sum(dim=1), bias)  # [1, F]

        is_item = item_seq > 0
        length = is_item.sum(dim=1)  # [B]
        row, start = is_item.nonzero(as_tuple=True)  # [R]: the items, each the first of a window
        items = self.item_embedding(item_seq[row, start]) - pad  # [R, d]
        products: Tensor = _WindowProducts.apply(items, weight, length[row] - start)  # type: ignore[no-untyped-call]
        too_high = height > (longest - start).unsqueeze(1)  # [R, F]: the window would reach over the row's end
        largest = torch.segment_reduce(products.masked_fill_(too_high, -torch.inf), "max", lengths=length)  # [B, F]
        has_pads_only = height <= (longest - length).unsqueeze(1)  # [B, F]: one of the windows, whose product is 0
        largest = torch.where(has_pads_only, largest.clamp(min=0), largest)
        return functional.relu(largest + of_pads)


def stacked(convolutions: nn.ModuleList) -> tuple[Tensor, Tensor]:
    """Filters of heights 1..L as one tensor, zeros behind the lower ones.

    Args:
        convolutions: L of them, each with weights [n_h, 1, height, d] and biases [n_h].

    Returns:
        [n_h * L, L, d] and [n_h * L].
    """
    longest = len(convolutions)
    every: list[Any] = list(convolutions)
    weights = [functional.pad(one.weight[:, 0], (0, 0, 0, longest - one.weight.shape[2])) for one in every]
    return torch.cat(weights), torch.cat([one.bias for one in every])


class _WindowProducts(torch.autograd.Function):
    """Items [R, d], filters [F, L, d] and how many items go on from each, [R] -> filter times window, [R, F].

    Windows are gathered in portions of like length, and once more for the gradients: all of them would take L times
    the memory of the items.
    """

    @staticmethod
    def forward(context: Any, items: Tensor, weight: Tensor, remaining: Tensor) -> Tensor:
        dtype = computing_dtype(items)
        items, weight = functional.pad(items.to(dtype), (0, 0, 0, 1)), weight.to(dtype)  # the last row: zeros
        products = items.new_empty(len(remaining), len(weight))
        with torch.autocast(items.device.type, enabled=False):
            for rows, place in _portions(remaining, items.shape[1]):
                products[rows] = items[place].flatten(1) @ weight[:, : place.shape[1]].flatten(1).T
        context.save_for_backward(items, weight, remaining)
        return products

    @staticmethod
    def backward(context: Any, *grads: Tensor) -> Any:
        items, weight, remaining = context.saved_tensors
        exact = torch.promote_types(items.dtype, torch.float32)  # what many portions are summed in
        of_items, of_weight = torch.zeros_like(items, dtype=exact), torch.zeros_like(weight, dtype=exact)
        for rows, place in _portions(remaining, items.shape[1]):
            grad, length = grads[0][rows], place.shape[1]  # [n, F]
            windows = items[place].flatten(1)  # [n, length * d]
            of_weight[:, :length] += (grad.T @ windows).unflatten(1, (length, -1))
            of_windows = grad @ weight[:, :length].flatten(1)  # [n, length * d]
            of_items.index_add_(0, place.flatten(), of_windows.view(-1, items.shape[1]).to(exact))
        return of_items[:-1], of_weight, None


def _portions(remaining: Tensor, width: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Windows in portions, the longest first.

    Yields:
        Which windows, int64 [n], and the places of their items, int64 [n, length]; R where a window has ended.
    """
    order = remaining.argsort(descending=True)
    lengths, start = remaining[order].tolist(), 0
    while start < len(order):
        length = lengths[start]
        rows = order[start : start + max(1, _WINDOWS_AT_ONCE // (length * width))]
        offset = torch.arange(length, device=remaining.device)
        place = rows.unsqueeze(1) + offset  # [n, length]
        yield rows, place.masked_fill(offset >= remaining[rows].unsqueeze(1), len(remaining))
        start += len(rows)
