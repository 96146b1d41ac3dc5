"""What an LLM baseline's artifact is known by."""

from collections.abc import Callable
from typing import Any

import pytest

from recbole_tslrec.baselines.settings import E4SRecSettings, LlamaRecSettings, P5Settings, PODSettings


@pytest.mark.parametrize("settings", [E4SRecSettings, LlamaRecSettings, P5Settings, PODSettings])
def test_another_split_is_another_artifact(make_config: Callable[..., Any], settings: Any) -> None:
    """Of equal training parts too: the validation items choose the epoch."""
    recipes = [
        settings.of(make_config(eval_args={"split": {"RS": shares}})).recipe()
        for shares in ([0.5, 0.1, 0.4], [0.5, 0.3, 0.2])
    ]
    assert recipes[0] != recipes[1]
