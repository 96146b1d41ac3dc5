"""The metrics of a catalogue."""

from collections.abc import Callable
from typing import Any

import torch

from recbole_tslrec.compatibility.wrapping import wrap_once


def apply() -> None:
    """Let RecBole compute ItemCoverage, AveragePopularity, GiniIndex, ShannonEntropy and TailPercentage."""
    from recbole.evaluator import Collector

    wrap_once(Collector, "get_data_struct", _keep_counts)


def _keep_counts(get_data_struct: Callable[..., Any], collector: Any) -> Any:
    # recbole/evaluator/collector.py moves all that it has collected to the CPU; the number of items and the counts of
    # each are no tensors, and every metric that needs them fails with "'int' object has no attribute 'cpu'".
    collected = collector.data_struct._data_dict
    counts = {name: value for name, value in collected.items() if not isinstance(value, torch.Tensor)}
    for name in counts:
        del collected[name]
    struct = get_data_struct(collector)
    collected.update(counts)
    struct._data_dict.update(counts)
    return struct
