"""``target_view: rest`` (added here): the part of a history in the prompt predicts what is left of it.

The paper's target is made of the very items in the prompt, so that it can be had by counting them. Here it is made of
the others: of one item, it is what users who have that item have beside it.
"""

import numpy as np
from numpy.typing import NDArray

from recbole_tslrec.data.histories import Histories

SINGLE_ITEM_SHARE = 0.5  # of the views, so that the export's one-item prompts are what the LLM was trained on
_STREAM = 1  # the order of the users is drawn from [seed, epoch] alone


def split_histories(histories: Histories, max_items: int, seed: int, epoch: int) -> tuple[Histories, Histories]:
    """Cut every history at random into the items of the prompt and the remaining ones, both in time order.

    Half of the prompts have one item, the others uniformly 1 to ``min(n - 1, max_items)`` of a history's n, and any
    subset of that size is equally likely (our choices). So prompt and rest have every interaction once; an item that
    a user has twice may be in both.

    Args:
        histories: the training part of every user.
        max_items: that a prompt takes.
        seed: and
        epoch: decide the views.

    Returns:
        The prompts, empty for users with a single interaction, and the rests.
    """
    random = np.random.default_rng([seed, epoch, _STREAM])
    lengths = histories.lengths
    most = np.minimum(lengths - 1, max_items)  # [U]
    least = np.minimum(most, 1)
    single = random.random(len(histories)) < SINGLE_ITEM_SHARE
    sizes = np.where(single, least, random.integers(least, most + 1))  # [U]
    users = np.repeat(np.arange(len(histories)), lengths)  # [sum of lengths]
    order = np.lexsort((random.random(len(users)), users))
    place: NDArray[np.int64] = np.empty_like(order)  # of an interaction among its user's, shuffled
    place[order] = np.arange(len(order)) - np.repeat(histories.offsets[:-1], lengths)
    in_prompt = place < sizes[users]
    return histories.where(in_prompt), histories.where(~in_prompt)
