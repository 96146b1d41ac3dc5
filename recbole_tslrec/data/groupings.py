"""Preliminary latent categories of a dataset's items, read from a ``groups`` artifact."""

from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from recbole_tslrec.data.item_tokens import dataset_item_tokens
from recbole_tslrec.store.artifacts import open_artifact, rows_of_tokens


class Grouping(NamedTuple):
    """A group for each item.

    Attributes:
        groups: the groups of the item ids 1..N, int64 [N]; with a row for the pad [N + 1].
        group_count: K.
    """

    groups: Tensor
    group_count: int

    def with_pad(self) -> "Grouping":
        """The same with a row 0 for the pad, which is 0."""
        return Grouping(torch.cat([self.groups.new_zeros(1), self.groups]), self.group_count)


def load_groups(folder: str | Path, dataset: Any) -> Grouping:
    """The preliminary category of each item, in the order of a dataset's item ids.

    Args:
        folder: a ``groups`` artifact.
        dataset: a RecBole dataset.

    Raises:
        ArtifactError: the artifact is damaged or lacks items of the dataset.
    """
    artifact = open_artifact(folder, "groups")
    rows = rows_of_tokens(artifact.item_tokens(), dataset_item_tokens(dataset), folder)
    tensors = artifact.tensors()
    return Grouping(tensors["groups"][rows], len(tensors["centers"]))
