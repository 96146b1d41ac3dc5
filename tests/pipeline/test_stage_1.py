"""Groups, preference targets and user-level SFT: what is said of their artifacts."""

from collections.abc import Callable
from typing import Any

import pytest

from recbole_tslrec.pipeline import run_stages
from tests.conftest import walks


@pytest.mark.parametrize("users_differ", [False, True])
def test_users_with_the_same_target_are_spoken_of(
    make_config: Callable[..., Any], users_differ: bool, caplog: pytest.LogCaptureFixture
) -> None:
    one = walks(users=1)
    rows = walks() if users_differ else [(f"u{user}", item, time) for user in range(9) for _, item, time in one]
    config = make_config("TSLRecSASRec", rows)
    for _ in range(2):  # built, and found
        caplog.clear()
        run_stages(config, stop_after="targets")
        assert ("all 9 users have the same preference target" in caplog.text) is not users_differ
