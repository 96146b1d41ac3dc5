"""Atomic files as they are written: no quoting, any mark of encoding, no blanks around ids; and what filters drop."""

import codecs
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from logging import getLogger
from pathlib import Path
from typing import Any

from recbole_tslrec.compatibility.reading import read_columns
from recbole_tslrec.compatibility.wrapping import wrap_once

_BYTE_ORDER_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}

# the steps of RecBole's filtering, and the keys that ask for them
_FILTERS = {
    "_filter_nan_user_or_item": "without a user or an item",
    "_remove_duplication": "repeated (rm_dup_inter)",
    "_filter_by_field_value": "outside val_interval",
    "_filter_inter_by_user_or_item": "of users or items that .user or .item lack (filter_inter_by_user_or_item)",
    "_filter_by_inter_num": "by user_inter_num_interval and item_inter_num_interval",
}


def apply() -> None:
    """Let RecBole read every line of an atomic file, and say how many interactions its filters drop."""
    import pandas
    from recbole.data.dataset import Dataset
    from recbole.data.dataset import dataset as module

    if module.pd is pandas:
        module.pd = types.ModuleType("pandas")
        vars(module.pd).update(vars(pandas), read_csv=read_columns)
    wrap_once(Dataset, "_load_feat", _load_in_its_encoding)
    wrap_once(Dataset, "_data_filtering", _say_what_was_dropped)
    for name, counted in _COUNTED_FILTERS.items():
        wrap_once(Dataset, name, counted)


def encoding_of(path: str | Path, configured: str | None) -> str:
    """The encoding of an atomic file: what its byte order mark says, else as configured, else UTF-8."""
    with open(path, "rb") as file:
        head = file.read(3)
    return next((name for mark, name in _BYTE_ORDER_MARKS.items() if head.startswith(mark)), configured or "utf-8")


def _load_in_its_encoding(load_feat: Callable[..., Any], dataset: Any, filepath: str, source: Any) -> Any:
    # RecBole takes a byte order mark for a part of the first column's name, and blanks around an id for a part of it:
    # " u1" and "u1" are two users.
    with _configured(dataset.config, "encoding", encoding_of(filepath, dataset.config["encoding"])):
        frame = load_feat(dataset, filepath, source)
    for field in {dataset.uid_field, dataset.iid_field} & set(() if frame is None else frame):
        _strip(frame, field, filepath)
    return frame


@contextmanager
def _configured(config: Any, key: str, value: Any) -> Iterator[None]:
    before = config[key]
    config[key] = value
    try:
        yield
    finally:
        config[key] = before


def _strip(frame: Any, field: str, path: str) -> None:
    tokens = frame[field].unique()
    stray = {token: token.strip() for token in tokens if isinstance(token, str) and token != token.strip()}
    if stray:
        frame[field] = frame[field].map(lambda token: stray.get(token, token))
        getLogger().warning(
            f"{len(stray)} of {len(tokens)} values of {field} in {path} have blanks around them, such as "
            f"{next(iter(stray))!r}; the blanks are left out"
        )


def _say_what_was_dropped(data_filtering: Callable[..., Any], dataset: Any) -> Any:
    # RecBole says nothing, or at level DEBUG, of the interactions that it drops.
    read = len(dataset.inter_feat)
    dataset.interactions_dropped = {}
    result = data_filtering(dataset)
    dropped = {why: count for why, count in dataset.interactions_dropped.items() if count}
    reasons = "; dropped " + ", ".join(f"{count:,} {why}" for why, count in dropped.items()) if dropped else ""
    getLogger().info(
        f"{dataset.dataset_name}.inter: {read:,} interactions read, {len(dataset.inter_feat):,} kept{reasons}"
    )
    return result


def _counting(why: str) -> Callable[..., Any]:
    def counted(step: Callable[..., Any], dataset: Any) -> Any:
        before = len(dataset.inter_feat)
        result = step(dataset)
        vars(dataset).setdefault("interactions_dropped", {})[why] = before - len(dataset.inter_feat)
        return result

    return counted


# made once, so that apply() may be called twice
_COUNTED_FILTERS = {name: _counting(why) for name, why in _FILTERS.items()}
