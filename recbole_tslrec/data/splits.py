"""Whether a split leaves rows in each part that it is to have."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recbole_tslrec.data.atomic_files import DatasetError

_PARTS = ("training", "validation", "test")


def check_split(config: Any, lengths: NDArray[np.int64], rows: Sequence[int]) -> None:
    """Refuse a part without rows, unless ``eval_args`` asks for none in it.

    Args:
        config: RecBole's configuration.
        lengths: interactions of each user, [U].
        rows: of the training, the validation and the test part.

    Raises:
        DatasetError: says how many users have how many interactions, and how many are needed.
    """
    split = config["eval_args"]["split"]
    asked = (True, True, True) if config["benchmark_filename"] else _asked(split)
    empty = [part for part, count, is_asked in zip(_PARTS, rows, asked, strict=True) if is_asked and not count]
    if not empty:
        return
    if config["benchmark_filename"]:
        raise DatasetError(f"the {' and the '.join(empty)} part of benchmark_filename has no row")
    raise DatasetError(
        f"the {' and the '.join(empty)} set of [{config['dataset']}] has no row with split {split}: "
        f"{_histogram(lengths)}. Leave-one-out needs users with three interactions to test, and with four to validate "
        "as well; give longer histories, or another split in eval_args"
    )


def _asked(split: Mapping[str, Any]) -> tuple[bool, bool, bool]:
    kind, value = next(iter(split.items()))
    if kind == "LS":
        return True, value != "test_only", value != "valid_only"
    ratios = [float(ratio) for ratio in value]
    return ratios[0] > 0, ratios[1] > 0, ratios[2] > 0


def _histogram(lengths: NDArray[np.int64]) -> str:
    values, users = np.unique(lengths, return_counts=True)
    shown = [f"{count:,} users have {value}" for value, count in zip(values[:3], users[:3], strict=True)]
    more = f", the others up to {values[-1]}" if len(values) > 3 else ""
    return f"{', '.join(shown)} interactions{more}"
