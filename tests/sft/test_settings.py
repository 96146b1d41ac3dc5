"""What is wrong with the settings of fine-tuning is known when they are read."""

from collections.abc import Callable
from typing import Any

import pytest

from recbole_tslrec.settings import ConfigError, derive
from recbole_tslrec.sft.settings import FineTuningSettings


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("sft_layout", "rows", r"sft_layout \[rows\] is not one of prefix_row, padded"),
        ("sft_batch_size", 0, r"sft_batch_size must be a whole number above 0, not \[0\]"),
        ("sft_tokens_per_batch", 0, r"sft_tokens_per_batch must be a whole number above 0, not \[0\]"),
    ],
)
def test_a_wrong_value_is_refused_with_its_key(
    make_config: Callable[..., Any], key: str, value: Any, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        FineTuningSettings.of(derive(make_config(), **{key: value}))
