"""Refuses what is no number or truth value where one is needed, and numbers and names that no training could use."""

from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any

from recbole_tslrec.settings import ConfigError

_NAMES = {
    "learner": ("adam", "adamw", "sgd", "adagrad", "rmsprop"),  # RecBole takes Adam for any other name
    "hidden_act": ("gelu", "relu", "swish", "tanh", "sigmoid"),  # those of RecBole's feed-forward layer
}
# The least that a whole number can be; eval_step 0 validates nothing, and hidden_size 0 trains nothing without a word.
_LEAST = {
    **dict.fromkeys(("epochs", "pretrain_epochs", "minimum_epochs", "stopping_step", "sft_stopping_step"), 0),
    **dict.fromkeys(("eval_step", "worker", "seed", "metric_decimal_place", "loss_decimal_place"), 0),
    **dict.fromkeys(("train_batch_size", "eval_batch_size", "loss_negatives", "MAX_ITEM_LIST_LENGTH"), 1),
    **dict.fromkeys(("hidden_size", "embedding_size", "inner_size", "n_layers", "num_layers", "n_heads"), 1),
}
_ABOVE_0 = ("loss_memory", "initializer_range", "layer_norm_eps")
_FROM_0 = ("learning_rate", "backbone_learning_rate", "sft_learning_rate", "weight_decay", "sft_weight_decay")

_NEEDED = {*_LEAST, *_ABOVE_0, *_FROM_0}  # others may be None


def check_numbers(given: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
    """Refuse text or ``None`` where the default is a number, what is no truth value where it is one, other ranges
    and unknown names.

    Args:
        given: the values that a user has set, by key.
        defaults: the values of all keys without them.

    Raises:
        ConfigError: names the key, the value and what it may be.
    """
    for key, value in given.items():
        default = defaults.get(key)
        if isinstance(default, bool):
            _check_boolean(key, value)
        elif isinstance(default, int | float) and (isinstance(value, str) or (value is None and key in _NEEDED)):
            raise ConfigError(f"{key} must be a number such as {default}, not [{value}]")
        elif value is not None:
            _check_range(key, value)
    for key, names in _NAMES.items():
        value = str(given.get(key, names[0]))
        if (value.lower() if key == "learner" else value) not in names:  # RecBole lowers the one and not the other
            raise ConfigError(f"{key} [{given[key]}] is not one of {', '.join(names)}")


def as_the_default(value: Any, default: Any) -> Any:
    """A truth value or a fraction that was given as a whole number: equal settings shall make equal recipes."""
    if isinstance(default, bool) and value in (0, 1):
        return bool(value)
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return value


def _check_boolean(key: str, value: Any) -> None:
    if value is not None and value not in (False, True):  # 0 and 1 are equal to them
        raise ConfigError(f"{key} must be True or False, not [{value}]")


def _check_range(key: str, value: Any) -> None:
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    if key in _LEAST and not (is_number and isinstance(value, Integral) and int(value) >= _LEAST[key]):
        raise ConfigError(f"{key} must be a whole number of at least {_LEAST[key]}, not [{value}]")
    if key in _ABOVE_0 and not (is_number and value > 0):
        raise ConfigError(f"{key} must be a number above 0, not [{value}]")
    if key in _FROM_0 and not (is_number and value >= 0):
        raise ConfigError(f"{key} must be a number of at least 0, not [{value}]")
