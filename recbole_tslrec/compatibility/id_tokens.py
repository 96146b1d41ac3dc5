"""Tokens and their ids: arrays of tokens that are no wider than what they hold."""

from collections.abc import Callable
from typing import Any

import numpy as np

from recbole_tslrec.compatibility.wrapping import wrap_once


def apply() -> None:
    """Let RecBole's datasets keep tokens as objects."""
    from recbole.data.dataset import Dataset

    wrap_once(Dataset, "_remap", _remap_with_objects)


def _remap_with_objects(remap: Callable[..., Any], dataset: Any, remap_list: Any) -> None:
    # RecBole keeps the tokens of a column in an array whose every place is as wide as the longest of them: one id of
    # 200 characters makes 800 bytes of each. Ids are those that it gives: in the order of first appearance, from 1.
    import pandas

    if not remap_list:
        return
    tokens, split_point = dataset._concat_remaped_tokens(remap_list)
    ids, distinct = pandas.factorize(tokens)
    token_of = np.array(["[PAD]", *distinct], dtype=object)
    id_of = {token: number for number, token in enumerate(token_of)}
    for (rows, field, kind), own in zip(remap_list, np.split(ids + 1, split_point), strict=True):
        if field not in dataset.field2id_token:
            dataset.field2id_token[field], dataset.field2token_id[field] = token_of, id_of
        if kind.value == "token":
            rows[field] = own
        else:
            rows[field] = np.split(own, np.cumsum(rows[field].agg(len))[:-1])
