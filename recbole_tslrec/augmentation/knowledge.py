"""What is fused into the items of a dataset: a vector for each, from an export or from any other source."""

from dataclasses import dataclass
from logging import getLogger
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from recbole_tslrec.augmentation.principal_components import PrincipalComponents
from recbole_tslrec.augmentation.settings import KnowledgeFusionSettings
from recbole_tslrec.augmentation.vector_files import VectorsError
from recbole_tslrec.augmentation.vectors import read_vectors
from recbole_tslrec.data.item_tokens import dataset_item_tokens


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
        getLogger().warning(
            f"{len(tokens) - count} of {len(tokens)} items have no vector in {path}; they start from a learned default"
        )
    if count < len(row_of):
        getLogger().info(f"{len(row_of) - count} vectors in {path} are of items that the dataset does not have")
    rows = vectors.rows.new_zeros(len(found), vectors.rows.shape[1])
    rows[present] = vectors.rows[found[present]]
    return Knowledge(rows, present)


def fusion_knowledge(
    path: str | Path, dataset: Any, settings: KnowledgeFusionSettings, seed: int, with_categories: bool
) -> Knowledge:
    """The item vectors of a dataset, as they are fused.

    Args:
        path: as of :func:`load_knowledge`.
        dataset: a RecBole dataset.
        settings: whether the vectors become their principal components.
        seed: the seed of the principal components.
        with_categories: as of :func:`load_knowledge`.

    Raises:
        VectorsError: as :func:`load_knowledge`.
        ArtifactError: as :func:`load_knowledge`.
    """
    knowledge = load_knowledge(path, dataset, with_categories)
    if settings.fusion_input == "knowledge":
        return knowledge
    return reduce_to_components(knowledge, settings.fusion_pca_dimension, settings.fusion_pca_whiten, seed)


def reduce_to_components(knowledge: Knowledge, dimension: int, whiten: bool, seed: int) -> Knowledge:
    """Replace the rows by their first principal components, found over the items that have a vector.

    Args:
        knowledge: with rows [N + 1, H].
        dimension: how many components to keep, at most.
        whiten: whether each component is scaled to the same variance.
        seed: the seed of the randomised solver.

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
