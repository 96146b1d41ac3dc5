"""What RecBole's loaders and samplers make before the first batch is asked for."""

from collections.abc import Callable
from typing import Any

import numpy as np

from recbole_tslrec.compatibility.wrapping import wrap_once


def apply() -> None:
    """Let loaders number their rows by a range, and samplers of sequential models share one empty set."""
    from recbole.data.dataloader import abstract_dataloader
    from recbole.sampler import RepeatableSampler

    vars(abstract_dataloader)["list"] = _unless_a_range
    wrap_once(RepeatableSampler, "get_used_ids", _one_empty_set)


def _unless_a_range(values: Any) -> Any:
    # `list(range(rows))` takes 36 bytes and an object for each training row, in every process. Nothing else in that
    # module makes a list.
    return values if isinstance(values, range) else list(values)


def _one_empty_set(get_used_ids: Callable[..., Any], sampler: Any) -> Any:
    # RecBole makes an empty set for each user, 216 bytes, for two samplers. None is ever filled: `sample_by_user_ids`
    # puts other sets in their place.
    used = np.empty(sampler.user_num, dtype=object)
    used.fill(frozenset())
    return used
