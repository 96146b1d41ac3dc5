"""RecBole's configuration as an object, made of values: what RecBole's own classes have to be given."""

import copy
from collections.abc import Mapping
from typing import Any

import recbole.config


class RecBoleConfig(recbole.config.Config):  # type: ignore[misc]  # RecBole is untyped
    """A configuration that holds the given values and no others: any other key reads as ``None``, as in RecBole."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.final_config_dict = dict(values)
        self.parameters: dict[str, list[str]] = {}  # by category, for printing


def derive(config: Any, **changes: Any) -> Any:
    """A copy of a configuration with other values; the original stays as it is."""
    derived = copy.copy(config)
    derived.final_config_dict = {**config.final_config_dict, **changes}
    return derived
