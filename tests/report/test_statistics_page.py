"""The page of one dataset."""

import numpy as np

from recbole_tslrec.report.statistics_page import at_least


def test_shares_are_of_values_as_large_or_larger() -> None:
    values, shares = at_least(np.array([5, 0, 2, 2]))
    assert values.tolist() == [0, 2, 5]
    assert shares.tolist() == [1.0, 0.75, 0.25]
