"""What is fused into a dataset's items: knowledge from any vectors, and preliminary categories."""

import functools
from dataclasses import dataclass
from logging import getLogger
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from recbole_tslrec.artifacts import open_artifact, rows_of_tokens
from recbole_tslrec.augmentation.principal_components import PrincipalComponents
from recbole_tslrec.augmentation.vector_files import VectorsError
from recbole_tslrec.augmentation.vectors import read_vectors

FUSION_INPUTS = ("knowledge", "pca")
Grouping = tuple[Tensor, int]  # the group of each of the item ids 1..N, int64 [N], and the number of groups K


@dataclass(frozen=True)
class Knowledge:
    """A vector for each item of a dataset, or none.

    Attributes:
        rows: float32 [N + 1, H]; the pad row 0 and those of items without a vector are zero.
        present: bool [N + 1], whether an item has a vector; the pad has none.
        components: what the rows were before they became their principal components, if they did.
    """

    rows: Tensor
    present: Tensor
    components: PrincipalComponents | None = None


def dataset_item_tokens(dataset: Any) -> list[str]:
    """The external tokens of the items 1..N of a RecBole dataset, in the order of their ids (0 is the pad)."""
    return [str(token) for token in dataset.field2id_token[dataset.iid_field][1:]]


def load_knowledge(path: str | Path, dataset: Any, with_categories: bool = False) -> Knowledge:
    """Item vectors in the order of a dataset's item ids, matched by external token.

    Items without a vector are counted in a warning; vectors of other items are left out.

    Args:
        path: what :func:`recbole_tslrec.augmentation.vectors.read_vectors` reads.
        dataset: a RecBole dataset.
        with_categories: as of :func:`recbole_tslrec.augmentation.vectors.read_vectors`.

    Raises:
        VectorsError: the vectors cannot be read, are not finite, or none is of an item of the dataset.
        ArtifactError: the artifact is damaged or of another kind.
    """
    if hasattr(dataset, "saved_knowledge"):  # of a saved model, whose weights hold it
        saved: Knowledge = dataset.saved_knowledge
        return saved
    vectors = read_vectors(path, with_categories)
    tokens = dataset_item_tokens(dataset)
    row_of = {token: row for row, token in enumerate(vectors.tokens)}
    found = torch.tensor([-1] + [row_of.get(token, -1) for token in tokens])  # [N + 1]
    present = found >= 0
    count = int(present.sum())
    if not count:
        raise VectorsError(
            f"{path} has no vector of any item of the dataset: its tokens look like {next(iter(row_of), None)!r}, the "
            f"dataset's like {tokens[0]!r}; name its rows with the dataset's item tokens"
        )
    if count < len(tokens):
        _warn_once(
            f"{len(tokens) - count} of {len(tokens)} items have no vector in {path}; they start from a learned default"
        )
    if count < len(row_of):
        getLogger().info(f"{len(row_of) - count} vectors in {path} are of items that the dataset does not have")
    rows = vectors.rows.new_zeros(len(found), vectors.rows.shape[1])
    rows[present] = vectors.rows[found[present]]
    return Knowledge(rows, present)


@functools.cache
def _warn_once(message: str) -> None:
    """A run builds its model for training and for every evaluation, and loads the same vectors each time."""
    getLogger().warning(message)


def fusion_knowledge(config: Any, dataset: Any) -> Knowledge:
    """The knowledge that ``knowledge_path``, ``knowledge_content`` and ``fusion_input`` ask for.

    Raises:
        ValueError: a key of :func:`check_fusion_input` is wrong, or as :func:`load_knowledge`.
    """
    check_fusion_input(config)
    knowledge = load_knowledge(config["knowledge_path"], dataset, fuses_categories(config))
    if config["fusion_input"] == "knowledge":
        return knowledge
    return reduce_to_components(knowledge, config["fusion_pca_dimension"], config["fusion_pca_whiten"], config["seed"])


def fuses_categories(config: Any) -> bool:
    """Whether g-hat^v is fused beside h^v; control rows without an LLM have none, and are fused as they are."""
    has_categories = config["knowledge_source"] in (None, "sft", "untuned")  # None: of stock RecBole
    return bool(has_categories and config["knowledge_content"] == "hidden_and_categories")


def reduce_to_components(knowledge: Knowledge, dimension: int, whiten: bool, seed: int) -> Knowledge:
    """Replace the rows by their first principal components, found over the items that have a vector.

    Args:
        knowledge: with rows [N + 1, H].
        dimension: how many components to keep, at most.
        whiten: whether each component is scaled to the same variance.
        seed: of the randomised solver.

    Returns:
        Knowledge with rows [N + 1, min(dimension, items with a vector, H)].
    """
    items = knowledge.rows[knowledge.present]
    largest = min(items.shape)
    if dimension > largest:
        getLogger().info(
            f"fusion_pca_dimension {dimension} is more than {items.shape[0]} vectors of width {items.shape[1]} have; "
            f"{largest} components are kept"
        )
    components = PrincipalComponents.of(items, min(dimension, largest), whiten, seed)
    rows = items.new_zeros(len(knowledge.rows), components.axes.shape[1])
    rows[knowledge.present] = components(items)
    return Knowledge(rows, knowledge.present, components)


def check_fusion_input(config: Any) -> None:
    """Refuse wrong values of ``fusion_input`` and of the keys that belong to it.

    Raises:
        ValueError: says which key, and what it may be.
    """
    if config["fusion_input"] not in FUSION_INPUTS:
        raise ValueError(f"fusion_input [{config['fusion_input']}] is not one of {', '.join(FUSION_INPUTS)}")
    dimension = config["fusion_pca_dimension"]
    if not isinstance(dimension, int) or dimension < 1:
        raise ValueError(f"fusion_pca_dimension must be a whole number above 0, not [{dimension}]")
    if not isinstance(config["fusion_pca_whiten"], bool):
        raise ValueError(f"fusion_pca_whiten must be True or False, not [{config['fusion_pca_whiten']}]")


def load_groups(folder: str | Path, dataset: Any) -> tuple[Tensor, int]:
    """The preliminary category of each item, in the order of a dataset's item ids.

    Of several groupings it is the first: a CI model has no use for more (our choice).

    Args:
        folder: a ``groups`` artifact.
        dataset: a RecBole dataset.

    Returns:
        int64 [N + 1], row 0 (the pad) 0, and the number of groups K.

    Raises:
        ArtifactError: the artifact is damaged or lacks items of the dataset.
    """
    if hasattr(dataset, "saved_groups"):  # of a saved model, whose weights hold them
        saved: tuple[Tensor, int] = dataset.saved_groups
        return saved
    (groups, group_count), *_ = load_groupings(folder, dataset)
    return torch.cat([groups.new_zeros(1), groups]), group_count


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
    return [(tensors[groups][rows], len(tensors[centers])) for groups, centers in names]


def grouping_names(count: int) -> list[tuple[str, str]]:
    """The names of each grouping's groups and centers in a ``groups`` artifact; the first is named as an only one."""
    return [("groups", "centers"), *((f"groups_{number}", f"centers_{number}") for number in range(2, count + 1))]
