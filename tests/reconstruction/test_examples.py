"""A user's example: which items its prompt has, and how many tokens they take."""

from typing import Any

import numpy as np
import torch

from recbole_tslrec.data.histories import Histories
from recbole_tslrec.reconstruction.examples import user_examples
from recbole_tslrec.sft.examples import Examples

# the first user has items 1 2 3, the second 3
HISTORIES = Histories(["a", "b"], np.array([1, 2, 3, 3]), np.array([0, 3, 4]))


def examples(**settings: Any) -> Examples:
    return user_examples(HISTORIES, torch.eye(2), 2, batch_size=2, seed=0, **settings)


def test_every_user_is_an_example() -> None:
    assert examples().chosen.tolist() == [0, 1]


def test_an_item_is_one_token() -> None:
    """At most two items in a prompt."""
    assert examples().token_counts.tolist() == [2, 1]


def test_an_item_with_text_is_more() -> None:
    """Item 1 takes 9 tokens, item 2 takes 4 and item 3 one; the first user's prompt has the items 2 and 3."""
    assert examples(item_tokens=np.array([1, 9, 4, 1])).token_counts.tolist() == [5, 1]
