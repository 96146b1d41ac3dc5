"""A dataset with planted latent categories: users prefer some of them, and each item is seen only a few times."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class Planted:
    """Interactions and what they were drawn from.

    Attributes:
        interactions: (user token, item token, time) rows, ordered by user and time.
        category: the planted category of item token ``i<n>``, [N].
    """

    interactions: list[tuple[str, str, float]]
    category: NDArray[np.int64]

    def item_rows(self, tokens: list[str]) -> NDArray[np.int64]:
        """The planted number of each item token."""
        return np.array([int(token[1:]) for token in tokens])


def plant(
    users: int, items: int, categories: int, length: int, seed: int = 0, shares: tuple[float, float] = (0.6, 0.25)
) -> Planted:
    """Every user has a favourite category, a second one (with these shares) and the rest; within one, items are alike
    likely.
    """
    rng = np.random.default_rng(seed)
    category = np.arange(items) % categories
    members = [np.flatnonzero(category == c) for c in range(categories)]
    interactions = []
    for user in range(users):
        favourite, second = rng.choice(categories, size=2, replace=False)
        preference = np.full(categories, (1 - sum(shares)) / (categories - 2))
        preference[[favourite, second]] = shares
        for time in range(length):
            item = rng.choice(members[rng.choice(categories, p=preference)])
            interactions.append((f"u{user}", f"i{item}", float(time)))
    return Planted(interactions, category)


def separated_rows(category: NDArray[np.int64], dimension: int, seed: int = 0) -> Tensor:
    """Well separated clusters, one per category: float32 [N, dimension]."""
    rng = np.random.default_rng(seed)
    centers = rng.normal(size=(int(category.max()) + 1, dimension))
    return torch.from_numpy(centers[category] + 0.1 * rng.normal(size=(len(category), dimension))).float()
