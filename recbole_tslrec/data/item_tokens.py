"""External item tokens: by them, never by position, rows are matched to a dataset's items."""

from typing import Any


def dataset_item_tokens(dataset: Any) -> list[str]:
    """The external tokens of the items 1..N of a RecBole dataset, in the order of their ids (0 is the pad)."""
    return [str(token) for token in dataset.field2id_token[dataset.iid_field][1:]]
