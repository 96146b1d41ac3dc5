"""The tree of all items' token sequences, walked by many beams at once."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

ROOT = 0


@dataclass(frozen=True)
class ItemTrie:
    """Which token may follow where, so that only items can be generated.

    Attributes:
        tokens: the vocabulary's ids of the S tokens that items are made of, ascending, int64 [S].
        children: the node behind each node and token, a column for each of ``tokens``; -1 where none is, [nodes, S].
        item: the item 1..N that ends at a node; 0 where none does, int64 [nodes].
    """

    tokens: Tensor
    children: Tensor
    item: Tensor

    @classmethod
    def of(cls, sequences: Sequence[Sequence[int]]) -> "ItemTrie":
        """The tree of the token sequences of the items 1..N.

        Raises:
            ValueError: two items have the same sequence, or one begins with the other: none could tell which is meant.
        """
        tokens = sorted({token for sequence in sequences for token in sequence})
        column = {token: place for place, token in enumerate(tokens)}
        behind: list[dict[int, int]] = [{}]
        ends: dict[int, int] = {}
        for item, sequence in enumerate(sequences, start=1):
            node = ROOT
            for token in sequence:
                if column[token] not in behind[node]:
                    behind[node][column[token]] = len(behind)
                    behind.append({})
                node = behind[node][column[token]]
            if node in ends or node == ROOT:
                raise ValueError(f"items {ends.get(node)} and {item} have the same tokens {list(sequence)}")
            ends[node] = item
        item_of = np.zeros(len(behind), dtype=np.int64)
        item_of[list(ends)] = list(ends.values())
        inner = [item for node, item in ends.items() if behind[node]]
        if inner:
            raise ValueError(
                f"the tokens of item {inner[0]}, {list(sequences[inner[0] - 1])}, begin those of another item"
            )
        children = np.full((len(behind), len(tokens)), -1, dtype=np.int64)
        for node, found in enumerate(behind):
            children[node, list(found)] = list(found.values())
        return cls(torch.tensor(tokens), torch.from_numpy(children), torch.from_numpy(item_of))

    @property
    def item_count(self) -> int:
        """N."""
        return int((self.item > 0).sum())

    def to(self, device: torch.device | str) -> "ItemTrie":
        """The same on another device."""
        return ItemTrie(self.tokens.to(device), self.children.to(device), self.item.to(device))
