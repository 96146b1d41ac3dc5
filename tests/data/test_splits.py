"""A part without rows that a split is to have is refused."""

import numpy as np
import pytest

from recbole_tslrec.data.atomic_files import DatasetError
from recbole_tslrec.data.splits import check_split


def config(split: dict[str, object]) -> dict[str, object]:
    return {"eval_args": {"split": split}, "benchmark_filename": None, "dataset": "toy"}


def test_users_are_counted_by_their_interactions() -> None:
    with pytest.raises(DatasetError, match=r"the validation and the test set of \[toy\] has no row.*3 users have 2"):
        check_split(config({"LS": "valid_and_test"}), np.array([2, 2, 2]), [3, 0, 0])


@pytest.mark.parametrize(
    ("split", "rows"),
    [
        ({"LS": "valid_and_test"}, [3, 1, 2]),
        ({"LS": "test_only"}, [3, 0, 2]),
        ({"LS": "valid_only"}, [3, 2, 0]),
        ({"RS": [0.8, 0.2, 0]}, [3, 2, 0]),
    ],
)
def test_part_that_is_not_asked_for_may_be_empty(split: dict[str, object], rows: list[int]) -> None:
    check_split(config(split), np.array([4, 5]), rows)
