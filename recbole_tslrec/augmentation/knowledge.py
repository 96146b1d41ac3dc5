"""The hook that loads exported tables for a dataset: knowledge embeddings and preliminary categories."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from recbole_tslrec.artifacts import ArtifactError, open_artifact, rows_of_tokens


def dataset_item_tokens(dataset: Any) -> list[str]:
    """The external tokens of the items 1..N of a RecBole dataset, in the order of their ids (0 is the pad)."""
    return [str(token) for token in dataset.field2id_token[dataset.iid_field][1:]]


def load_knowledge(folder: str | Path, dataset: Any) -> Tensor:
    """The exported knowledge embeddings in the order of a dataset's item ids.

    Args:
        folder: a ``knowledge`` artifact.
        dataset: a RecBole dataset.

    Returns:
        [N + 1, H], row 0 (the pad) zero.

    Raises:
        ArtifactError: the artifact is damaged, lacks items of the dataset, or holds values that are not finite.
    """
    knowledge = _load_rows(folder, "knowledge", "knowledge", dataset)
    finite = torch.isfinite(knowledge).all(dim=1)
    if not finite.all():
        first = dataset_item_tokens(dataset)[int((~finite).nonzero()[0])]
        raise ArtifactError(
            f"{folder} has {int((~finite).sum())} knowledge embeddings that are not finite, the first is of item "
            f"{first!r}; export it again, in float32 if it was half precision"
        )
    return torch.cat([knowledge.new_zeros(1, knowledge.shape[1]), knowledge])


def load_groups(folder: str | Path, dataset: Any) -> tuple[Tensor, int]:
    """The preliminary category of each item, in the order of a dataset's item ids.

    Args:
        folder: a ``groups`` artifact.
        dataset: a RecBole dataset.

    Returns:
        int64 [N + 1], row 0 (the pad) 0, and the number of groups K.

    Raises:
        ArtifactError: the artifact is damaged or lacks items of the dataset.
    """
    groups = _load_rows(folder, "groups", "groups", dataset)
    group_count = len(open_artifact(folder, "groups").tensors()["centers"])
    return torch.cat([groups.new_zeros(1), groups]), group_count


def _load_rows(folder: str | Path, kind: str, name: str, dataset: Any) -> Tensor:
    artifact = open_artifact(folder, kind)
    rows = rows_of_tokens(artifact.item_tokens(), dataset_item_tokens(dataset), folder)
    return artifact.tensors()[name][rows]
