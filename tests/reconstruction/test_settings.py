"""How many groups there are, and what is wrong with other values."""

from collections.abc import Callable
from typing import Any

import pytest

from recbole_tslrec.reconstruction.settings import GroupSettings, ReconstructionSettings
from recbole_tslrec.settings import ConfigError, derive


@pytest.mark.parametrize("group_count", [[8, 16], 32.0, None, 0])
def test_bad_numbers_of_groups_are_named(make_config: Callable[..., Any], group_count: Any) -> None:
    with pytest.raises(ConfigError, match=r"group_count must be a whole number above 0, not \["):
        GroupSettings.of(derive(make_config(), group_count=group_count))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("target_view", "both", r"target_view \[both\] is not one of own, rest"),
        ("sft_loss", "mae", r"sft_loss \[mae\] is not one of mse, kl"),
    ],
)
def test_an_unknown_task_is_refused(make_config: Callable[..., Any], key: str, value: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ReconstructionSettings.of(derive(make_config(), **{key: value}))
