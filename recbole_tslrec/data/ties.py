"""Interactions at the same time, whose order is that of the file."""

import numpy as np
from numpy.typing import NDArray


def tied(users: NDArray[np.int64], times: NDArray[np.float64]) -> int:
    """Interactions at the same time as another one of the user.

    Args:
        users: the user of each interaction; those of a user stand together, [n].
        times: in order for each user, [n].
    """
    same = (users[1:] == users[:-1]) & (times[1:] == times[:-1])
    of_a_tie = np.zeros(len(users), dtype=bool)
    of_a_tie[1:] |= same
    of_a_tie[:-1] |= same
    return int(of_a_tie.sum())
