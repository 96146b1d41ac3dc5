"""The groups of a ``groups`` artifact follow the item ids of a dataset."""

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from recbole_tslrec.data.groupings import Grouping, load_groups
from recbole_tslrec.store.artifacts import Artifact, ArtifactError, Recipe, Store, write_item_table

MakeGroups = Callable[[Sequence[str], torch.Tensor, int], Artifact]


def dataset_of(*tokens: str) -> Any:
    """What is read of a RecBole dataset: the tokens of its items behind the pad's."""
    return SimpleNamespace(iid_field="item_id", field2id_token={"item_id": ["[PAD]", *tokens]})


def test_groups_follow_the_ids_of_the_dataset(tmp_path: Path) -> None:
    """The artifact's rows are of c, a and b."""
    tensors = {"groups": torch.tensor([2, 0, 1]), "centers": torch.zeros(3, 2)}
    artifact = Store(tmp_path).build("groups", Recipe({}), lambda folder: write_item_table(folder, "cab", tensors))
    groups, count = load_groups(artifact.folder, dataset_of("a", "b", "c"))
    assert (groups.tolist(), count) == ([0, 1, 2], 3)


def test_items_without_a_group_are_refused(make_groups: MakeGroups) -> None:
    folder = make_groups(["a", "b"], torch.tensor([0, 1]), 2).folder
    with pytest.raises(ArtifactError, match=r"lacks 1 of the dataset's 2 items, the first is 'x'"):
        load_groups(folder, dataset_of("a", "x"))


def test_another_artifact_is_refused(make_knowledge: Callable[[Sequence[str], torch.Tensor], Artifact]) -> None:
    with pytest.raises(ArtifactError, match=r"holds \[knowledge\], not \[groups\]"):
        load_groups(make_knowledge(["a"], torch.zeros(1, 2)).folder, dataset_of("a"))


def test_pad_is_in_group_0() -> None:
    groups, count = Grouping(torch.tensor([2, 1]), 3).with_pad()
    assert (groups.tolist(), count) == ([0, 2, 1], 3)
