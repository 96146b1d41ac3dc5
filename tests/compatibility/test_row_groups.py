"""Groups of rows are split as RecBole's loops split them."""

from typing import Any

import numpy as np
import pytest
from recbole.data.dataset import Dataset

from recbole_tslrec.compatibility.row_groups import Groups

KEYS = np.random.default_rng(0).integers(12, size=60)


def recboles() -> Any:
    return Dataset.__new__(Dataset)


def test_groups_are_in_order_of_first_appearance() -> None:
    assert [group.tolist() for group in Groups.of(np.array([7, 3, 7, 3, 9]))] == [[0, 2], [1, 3], [4]]
    assert [group.tolist() for group in Groups.of(KEYS)] == list(recboles()._grouped_index(KEYS))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_last_ones_apart(count: int) -> None:
    expected = recboles()._split_index_by_leave_one_out(list(recboles()._grouped_index(KEYS)), count)
    assert [part.tolist() for part in Groups.of(KEYS).last_apart(count)] == expected


def test_a_group_of_two_keeps_one_and_gives_the_last_part_the_other() -> None:
    assert [part.tolist() for part in Groups.of(np.array([5, 5])).last_apart(2)] == [[0], [], [1]]


@pytest.mark.parametrize("ratios", [[0.8, 0.1, 0.1], [0.5, 0.5], [0.98, 0.01, 0.01], [1.0, 0.0, 0.0]])
def test_counts_by_ratio(ratios: list[float]) -> None:
    expected: list[list[int]] = [[] for _ in ratios]
    for group in recboles()._grouped_index(KEYS):
        ends = [0, *recboles()._calcu_split_ids(len(group), ratios), len(group)]
        for part, start, end in zip(expected, ends[:-1], ends[1:], strict=True):
            part.extend(group[start:end])
    assert [part.tolist() for part in Groups.of(KEYS).by_ratio(ratios)] == expected


def test_rows_after_the_common_time_are_the_last_part_and_each_group_s_others_are_cut_in_two() -> None:
    groups, times = Groups.of(np.array([1, 1, 1, 1, 2, 2])), np.array([0, 1, 2, 9, 3, 4])
    parts = groups.by_time(times, [0.4, 0.4, 0.2])  # the percentile 80 is 4
    assert [part.tolist() for part in parts] == [[0, 4], [1, 2, 5], [3]]


def test_values_rise_within_groups_whatever_other_groups_have() -> None:
    groups = Groups.of(np.array([7, 3, 7, 3]))
    assert groups.rise(np.array([5, 1, 5, 2]))
    assert not groups.rise(np.array([5, 1, 4, 2]))
