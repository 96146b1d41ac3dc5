"""Values of RecBole's own keys that RecBole passes over in silence, or fails on hours later."""

import difflib
import re
from collections.abc import Mapping
from typing import Any

from recbole.evaluator.register import metrics_dict

from recbole_tslrec.settings import ConfigError

_NUMBER = r"[+-]?(?:inf|\d+(?:\.\d*)?(?:e[+-]?\d+)?|\.\d+(?:e[+-]?\d+)?)"
_INTERVAL = re.compile(rf"\s*([\[(])\s*({_NUMBER})\s*,\s*({_NUMBER})\s*([\])])\s*", re.IGNORECASE)
_INTERVALS = (
    "user_inter_num_interval",
    "item_inter_num_interval",
    "entity_kg_num_interval",
    "relation_kg_num_interval",
)
_PROBABILITIES = ("dropout_prob", "lora_dropout")  # ends of keys
_WITHOUT_CUT_OFF = ("gauc", "auc", "mae", "rmse", "logloss")
_EXAMPLE = "{'split': {'LS': 'valid_and_test'}, 'order': 'TO', 'group_by': 'user', 'mode': 'full'}"
_PARTS = ("valid", "test")


def check_values(values: Mapping[str, Any]) -> None:
    """Refuse intervals, probabilities, ``eval_args``, metrics and a ``valid_metric`` that cannot work, and pickles.

    Args:
        values: the merged configuration, by key, before RecBole derives anything from it.

    Raises:
        ConfigError: names the key, the value and one that is legal.
    """
    for key in ("dataset_save_path", "dataloaders_save_path"):
        if values.get(key):
            raise ConfigError(
                f"{key} [{values[key]}] would be read as a pickle, which may run code; leave it out: what is read is "
                "kept below artifacts_dir"
            )
    for key in _INTERVALS:
        _check_interval(key, values.get(key))
    for key in values:
        if key.endswith(_PROBABILITIES):
            _check_probability(key, values[key])
    _check_val_interval(values.get("val_interval"))
    clip = values.get("clip_grad_norm")
    if clip is not None and not (isinstance(clip, Mapping) and "max_norm" in clip):
        raise ConfigError(f"clip_grad_norm must be a dict such as {{'max_norm': 5.0}}, not [{clip}]")
    if clip is not None and values.get("enable_scaler"):
        raise ConfigError(
            "clip_grad_norm would bound gradients that enable_scaler has multiplied, since RecBole clips before it "
            "divides them; leave one of the two out (bfloat16 needs no scaler)"
        )
    for key in ("load_col", "unload_col"):
        _check_columns(key, values.get(key))
    parts = values.get("benchmark_filename")
    if parts is not None and not (isinstance(parts, list) and len(parts) == 3):
        raise ConfigError(
            f"benchmark_filename [{parts}] must name the training, validation and test file, such as "
            "['train', 'valid', 'test']"
        )
    check_eval_args(values["eval_args"])
    _check_metrics(values["metrics"], values["topk"], str(values["valid_metric"]))


def check_eval_args(given: Any) -> None:
    """Refuse an ``eval_args`` that a sequential model cannot be evaluated with.

    Args:
        given: the value after RecBole's defaults.

    Raises:
        ConfigError: names the entry and what it may be.
    """
    if not isinstance(given, Mapping):
        raise ConfigError(f"eval_args must be a dict such as {_EXAMPLE}, not [{given}]")
    unknown = sorted(set(given) - {"split", "order", "group_by", "mode"})
    if unknown:
        raise ConfigError(f"eval_args has no entry [{unknown[0]}]; its entries are split, order, group_by and mode")
    if given.get("order", "TO") != "TO":
        raise ConfigError(f"eval_args has order [{given['order']}], and sequential models need TO, the order of time")
    if str(given.get("group_by", "user")).lower() not in ("user", "none"):
        raise ConfigError(f"eval_args has group_by [{given['group_by']}], which must be user or none")
    _check_split(given.get("split"))
    mode = given.get("mode", "full")
    modes = mode if isinstance(mode, Mapping) else dict.fromkeys(_PARTS, mode)
    if set(modes) - set(_PARTS):
        raise ConfigError(f"eval_args has mode [{mode}]; by part it is {{'valid': ..., 'test': ...}}")
    for of_part in modes.values():
        _check_mode(of_part)


def _check_mode(mode: Any) -> None:
    if mode == "labeled":
        raise ConfigError(
            "eval_args has mode [labeled], which evaluates labels of given rows, and this package ranks items; set its "
            "mode to full, or to uni100 for a sample of 100 items"
        )
    if not (isinstance(mode, str) and re.fullmatch(r"full|(uni|pop)[1-9]\d*", mode)):
        raise ConfigError(
            f"eval_args has mode [{mode}], which must be full, or uniN or popN for a sample of N items, such as uni100"
        )


def _check_split(split: Any) -> None:
    if split is None:
        return  # RecBole's default
    if not isinstance(split, Mapping) or len(split) != 1:
        raise ConfigError(f"eval_args has split [{split}], which must be a dict of one entry such as {{'RS': [8,1,1]}}")
    kind, value = next(iter(split.items()))
    if kind == "LS":
        if value not in ("valid_and_test", "valid_only", "test_only"):
            raise ConfigError(
                f"eval_args has split {{'LS': {value!r}}}, which must be valid_and_test, valid_only or test_only"
            )
    elif kind in ("RS", "TS"):
        is_list = isinstance(value, list) and len(value) == 3
        if not is_list or not all(isinstance(share, int | float) and share >= 0 for share in value) or not value[0]:
            raise ConfigError(
                f"eval_args has split {{{kind!r}: {value!r}}}, which must be the shares of training, validation and "
                "test, such as [0.8, 0.1, 0.1]"
            )
    else:
        raise ConfigError(f"eval_args has split [{kind}], which must be LS (leave one out), RS or TS (shares)")


def _check_interval(key: str, value: Any) -> None:
    if value is not None and not _is_interval(str(value)):
        raise ConfigError(
            f"{key} [{value}] is no interval, and RecBole would leave the filter out; 5 and more is written "
            f'--{key}="[5,inf)"'
        )


def _check_probability(key: str, value: Any) -> None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if value is not None and not (is_number and 0 <= value <= 1):
        raise ConfigError(
            f"{key} [{value}] must be a number between 0 and 1: it is the probability of dropping an element"
        )


def _is_interval(text: str) -> bool:
    """Whether a text is one interval or several, each with a number in it, between semicolons."""
    found = [_INTERVAL.fullmatch(part) for part in text.split(";")]
    return all(each and _holds_a_number(each) for each in found)


def _holds_a_number(interval: re.Match[str]) -> bool:
    low, high = float(interval[2]), float(interval[3])
    return low < high or (low == high and interval[1] + interval[4] == "[]")


def _check_val_interval(given: Any) -> None:
    if given is None:
        return
    if not isinstance(given, Mapping):
        raise ConfigError(f"val_interval [{given}] must be a dict by column, such as {{'rating': '[3,inf)'}}")
    for column, value in given.items():
        if isinstance(value, str):
            if not _is_interval(value):
                raise ConfigError(
                    f"val_interval of {column} [{value}] is no interval, and RecBole would leave the filter out; write "
                    f"{{'{column}': '[3,inf)'}} for numbers, or a list of the tokens that stay"
                )
        elif not isinstance(value, list | tuple | set):
            raise ConfigError(
                f"val_interval of {column} [{value}] must be an interval such as '[3,inf)', or a list of the tokens "
                "that stay"
            )


def _check_columns(key: str, given: Any) -> None:
    """``load_col`` and ``unload_col`` are lists of columns, or ``*``, by the suffix of the file."""
    lists = given.values() if isinstance(given, Mapping) else ()
    if given is None or (isinstance(given, Mapping) and all(of == "*" or isinstance(of, list) for of in lists)):
        return
    raise ConfigError(
        f"{key} [{given}] must be a dict by the suffix of the file, such as {{'inter': ['user_id', 'item_id', "
        "'timestamp']}"
    )


def _check_metrics(metrics: Any, topk: Any, wanted: str) -> None:
    metrics = [metrics] if isinstance(metrics, str) else metrics
    if not isinstance(metrics, list) or not metrics:
        raise ConfigError(f"metrics must be a list of names such as ['Hit', 'NDCG'], not [{metrics}]")
    for metric in metrics:
        if str(metric).lower() not in metrics_dict:
            known = {cls.__name__.lower(): cls.__name__ for cls in metrics_dict.values()}
            near = difflib.get_close_matches(str(metric).lower(), known, n=1)
            hint = f"did you mean {known[near[0]]}?" if near else f"the metrics are {', '.join(known.values())}"
            hint = f"did you mean [{metric}], a list?" if "," in str(metric) else hint
            raise ConfigError(f"metrics has [{metric}], which RecBole does not have; {hint}")
    cut_offs = [topk] if isinstance(topk, int) else topk
    if not isinstance(cut_offs, list) or not cut_offs or not all(type(k) is int and k > 0 for k in cut_offs):
        raise ConfigError(f"topk must be a list of whole numbers above 0 such as [5, 10], not [{topk}]")
    _check_valid_metric(metrics, cut_offs, wanted)


def _check_valid_metric(metrics: list[str], topk: list[int], wanted: str) -> None:
    name, _, cut_off = wanted.partition("@")
    if name.lower() not in map(str.lower, metrics):
        raise ConfigError(
            f"valid_metric [{wanted}] is not computed, since metrics are {metrics}; add {name} to metrics, or set "
            f"--valid_metric={metrics[0]}@{max(topk)}"
        )
    if name.lower() not in _WITHOUT_CUT_OFF and cut_off not in map(str, topk):
        raise ConfigError(
            f"valid_metric [{wanted}] is not computed, since topk is {topk}; add its cut-off to topk, or set "
            f"--valid_metric={name}@{max(topk)}"
        )
