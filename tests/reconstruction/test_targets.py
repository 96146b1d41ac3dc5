"""The preference target, by hand."""

import numpy as np
import torch

from recbole_tslrec.data.histories import Histories
from recbole_tslrec.reconstruction.targets import preference_targets


def test_shares_of_the_groups_with_repeats() -> None:
    histories = Histories(["a", "b"], np.array([1, 2, 3, 3, 2, 2]), np.array([0, 4, 6]))
    groups = torch.tensor([2, 0, 2])  # of items 1, 2, 3
    expected = torch.tensor([[0.25, 0.0, 0.75], [1.0, 0.0, 0.0]])
    assert torch.equal(preference_targets(histories, groups, 3), expected)
