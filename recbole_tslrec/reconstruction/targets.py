"""The preference target (Section 4.1): how a user's training interactions spread over the groups."""

import numpy as np
import torch
from torch import Tensor

from recbole_tslrec.data.histories import Histories


def preference_targets(histories: Histories, groups: Tensor, group_count: int) -> Tensor:
    """g-bar^u: the share of u's training interactions whose item lies in each group.

    The paper leaves the normalisation open; since the prediction is a softmax, the target must sum to 1 (our choice).

    Args:
        histories: the training part of every user, none empty.
        groups: the group of item ids 1..N, int64 [N].
        group_count: K.

    Returns:
        float32 [U, K]; each row sums to 1.
    """
    users = np.repeat(np.arange(len(histories)), histories.lengths)
    cell = users * group_count + groups.numpy()[histories.items - 1]
    counts = np.bincount(cell, minlength=len(histories) * group_count).reshape(len(histories), group_count)  # g^u
    return torch.from_numpy((counts / counts.sum(axis=1, keepdims=True)).astype(np.float32))
