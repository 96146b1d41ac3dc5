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

    Of several groupings it is the first: a CI model has no use for more (our choice).

    Args:
        folder: a ``groups`` artifact.
        dataset: a RecBole dataset.

    Returns:
        With a row for the pad: groups int64 [N + 1], row 0 is 0.

    Raises:
        ArtifactError: the artifact is damaged or lacks items of the dataset.
    """
    first, *_ = load_groupings(folder, dataset)
    return first.with_pad()


def load_groupings(folder: str | Path, dataset: Any) -> list[Grouping]:
    """What Stage 1 predicts: the groupings of a ``groups`` artifact, of a ``group_count`` that is a list several.

    Args:
        folder: a ``groups`` artifact.
        dataset: a RecBole dataset, whose item ids the groups follow.

    Raises:
        ArtifactError: the artifact is damaged or lacks items of the dataset.
    """
    artifact = open_artifact(folder, "groups")
    rows = rows_of_tokens(artifact.item_tokens(), dataset_item_tokens(dataset), folder)
    tensors = artifact.tensors()
    names = grouping_names(len(tensors) // 2)  # two tensors each
    return [Grouping(tensors[groups][rows], len(tensors[centers])) for groups, centers in names]


def grouping_names(count: int) -> list[tuple[str, str]]:
    """The names of each grouping's groups and centers in a ``groups`` artifact; the first is named as an only one."""
    return [("groups", "centers"), *((f"groups_{number}", f"centers_{number}") for number in range(2, count + 1))]
