"""``valid_users``: a validation of every epoch on some users, the same ones in each, where all would take too long."""

from typing import Any

import numpy as np


def loader_of_users(valid_data: Any, count: int | None, seed: int) -> Any:
    """A validation loader with the rows of some users, drawn once; ``valid_data`` itself where that is all of them.

    Args:
        valid_data: RecBole's loader.
        count: how many users; ``None`` takes all.
        seed: decides which.
    """
    dataset = valid_data._dataset
    user_of_row = dataset.inter_feat[dataset.uid_field].numpy()
    users = np.unique(user_of_row)
    if count is None or count >= len(users):
        return valid_data
    drawn = np.random.default_rng(seed).choice(users, count, replace=False)
    rows = dataset.inter_feat[np.isin(user_of_row, drawn)]
    return type(valid_data)(valid_data.config, dataset.copy(rows), valid_data._sampler, shuffle=False)
