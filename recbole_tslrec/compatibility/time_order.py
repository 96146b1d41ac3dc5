"""Histories in their true order."""

from collections.abc import Callable
from typing import Any

import numpy as np

from recbole_tslrec.compatibility.wrapping import wrap_once


def apply() -> None:
    """Let RecBole keep the order of float64 times, and among equal times that of the file."""
    # RecBole casts times to float32 and sorts afterwards: unix seconds keep a resolution of 64 to 128 s, so that
    # histories and even test targets come out wrong (RecBole#2204, RecBole#1653). Its sorts are stable, so rows that
    # are in order by (user, float64 time) before the cast stay in order after it.
    from recbole.data.dataset import Dataset, SequentialDataset

    wrap_once(Dataset, "_remove_duplication", _with_ties_as_in_the_file)
    wrap_once(SequentialDataset, "_change_feat_format", _sorted_before_the_cast)


def _sorted_before_the_cast(change_feat_format: Callable[..., Any], dataset: Any) -> Any:
    if dataset.benchmark_filename_list is None and {dataset.uid_field, dataset.time_field} <= set(dataset.inter_feat):
        dataset.inter_feat = sort_by_time(dataset)
    return change_feat_format(dataset)


def _with_ties_as_in_the_file(remove_duplication: Callable[..., Any], dataset: Any) -> Any:
    # With rm_dup_inter, RecBole's sort by time shuffles equal times, differently on a CPU with AVX-512 than on one
    # without. While it sorts, each row's place in the stable order, which no two rows share, stands for its time.
    rows, time = dataset.inter_feat, dataset.time_field
    if dataset.config["rm_dup_inter"] is None or time not in rows:
        return remove_duplication(dataset)
    times = rows[time].copy()
    rows[time] = np.argsort(np.argsort(times.to_numpy(), kind="stable"))
    result = remove_duplication(dataset)
    dataset.inter_feat[time] = times.loc[dataset.inter_feat.index]
    return result


def sort_by_time(dataset: Any) -> Any:
    """The interactions of a loaded dataset by (user, float64 time); ties keep the order of the file.

    Args:
        dataset: a RecBole dataset before ``data_preparation``, so that ``inter_feat`` is still a data frame.

    Returns:
        The frame itself where it is in this order already.
    """
    rows = dataset.inter_feat
    users, times = (rows[field].to_numpy() for field in (dataset.uid_field, dataset.time_field))
    if in_order(users, times):
        return rows
    return rows.take(np.lexsort((times, users))).reset_index(drop=True)  # pandas sorts by two columns ten times slower


def in_order(users: Any, times: Any) -> bool:
    """Whether interactions, [n], stand by (user, time)."""
    same, later = users[1:] == users[:-1], users[1:] > users[:-1]
    return bool((later | (same & (times[1:] >= times[:-1]))).all())
