"""A user's example: how many tokens its prompt takes."""

import numpy as np
import torch

from recbole_tslrec.reconstruction.examples import UserExamples
from recbole_tslrec.data.histories import Histories

# the first user has items 1 2 3, the second 3
HISTORIES = Histories(["a", "b"], np.array([1, 2, 3, 3]), np.array([0, 3, 4]))


def examples(**settings: object) -> UserExamples:
    return UserExamples(HISTORIES, torch.eye(2), 2, np.arange(2), batch_size=2, seed=0, **settings)


def test_an_item_is_one_token() -> None:
    """At most two items in a prompt."""
    assert examples().token_counts.tolist() == [2, 1]


def test_an_item_with_text_is_more() -> None:
    """Item 1 takes 9 tokens, item 2 takes 4 and item 3 one; the first user's prompt has the items 2 and 3."""
    assert examples(item_tokens=np.array([1, 9, 4, 1])).token_counts.tolist() == [5, 1]
