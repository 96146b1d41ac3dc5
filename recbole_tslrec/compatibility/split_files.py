"""Histories in files that were split elsewhere (``benchmark_filename``)."""

from collections.abc import Callable
from typing import Any

import numpy as np
from torch.nn.functional import pad

from recbole_tslrec.compatibility.wrapping import wrap_once


def apply() -> None:
    """Let RecBole keep the latest items of such histories, in as many columns as a model expects.

    The histories as they were in the files are the dataset's ``whole_histories``: the items of all rows, and where each
    row's begin; the evaluation masks them all.
    """
    from recbole.data.dataset import SequentialDataset

    wrap_once(SequentialDataset, "_change_feat_format", _latest_items)


def _latest_items(change_feat_format: Callable[..., Any], dataset: Any) -> Any:
    # RecBole makes the columns as wide as the longest list of the files, where models are built for
    # MAX_ITEM_LIST_LENGTH: Caser and FMLPRec fail, SASRec does with longer lists; seq_len would keep the oldest items.
    if dataset.benchmark_filename_list is None:
        return change_feat_format(dataset)
    longest, rows = dataset.max_item_list_len, dataset.inter_feat
    whole = rows[dataset.item_id_list_field].to_numpy()
    offsets = np.cumsum([0, *(len(history) for history in whole)])  # [rows + 1]
    dataset.whole_histories = np.concatenate(whole).astype(np.int64, copy=False), offsets
    fields = [field for field in rows if field.endswith(dataset.config["LIST_SUFFIX"])]
    for field in fields:
        rows[field] = [values[-longest:] for values in rows[field]]
        dataset.field2seqlen[field] = longest
    rows[dataset.item_list_length_field] = rows[dataset.item_list_length_field].clip(upper=longest)
    result = change_feat_format(dataset)
    columns = dataset.inter_feat.interaction
    for field in fields:
        columns[field] = pad(columns[field], (0, longest - columns[field].shape[1]))
    return result
