"""What is fused into the items of a dataset: a vector for each, from an export or from any other source."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from logging import getLogger
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from recbole_tslrec.augmentation.principal_components import PrincipalComponents
from recbole_tslrec.augmentation.repeated_vectors import check_constant, check_repeated
from recbole_tslrec.augmentation.settings import KnowledgeFusionSettings
from recbole_tslrec.augmentation.standardisation import center_and_norm, standardise
from recbole_tslrec.augmentation.token_matching import match_tokens, off_by_one
from recbole_tslrec.augmentation.vector_rows import VectorsError
from recbole_tslrec.augmentation.vectors import is_artifact, listed_paths, read_vectors
from recbole_tslrec.data.item_tokens import dataset_item_tokens


@dataclass(frozen=True)
class Knowledge:
    """A vector for each item of a dataset, or none.

    Attributes:
        rows: float32 [N + 1, H]; the pad row 0 and those of items without a vector are zero.
        present: bool [N + 1], whether an item has a vector; the pad has none.
        components: what the rows were before they became their principal components, if they did.
        center: what was subtracted where the rows are standardised, float64 [H]; ``None`` where they are not.
        norm: what they were divided by, float64 [].
    """

    rows: Tensor
    present: Tensor
    components: PrincipalComponents | None = None
    center: Tensor | None = None
    norm: Tensor | None = None

    @property
    def is_complete(self) -> bool:
        """Whether every item has a vector."""
        return bool(self.present[1:].all())

    @property
    def items(self) -> Tensor:
        """The rows of the items that have a vector; no copy where all have one."""
        return self.rows[1:] if self.is_complete else self.rows[self.present]

    def standardised(self, in_place: bool = False) -> "Knowledge":
        """With rows that are centred and of root-mean-square norm 1, over the items that have one; zero for the others.

        Args:
            in_place: whether the rows may be overwritten, so that they are not held twice.
        """
        if self.center is not None:
            return self
        center, norm = center_and_norm(self.items)
        found = standardise(self.rows, center, norm, self.rows if in_place else None)
        found[~self.present] = 0
        return replace(self, rows=found, center=center, norm=norm)


def load_knowledge(path: str | Path, dataset: Any) -> Knowledge:
    """Item vectors in the order of a dataset's item ids, matched by external token.

    Items without a vector are counted in a warning, as are those with the same; vectors of other items are left out.

    Args:
        path: what :func:`recbole_tslrec.augmentation.vectors.read_vectors` reads.
        dataset: a RecBole dataset.

    Raises:
        VectorsError: the vectors cannot be read, are not finite or all alike, or none is of an item of the dataset.
        ArtifactError: the artifact is damaged or of another kind.
    """
    vectors = read_vectors(path)
    tokens = dataset_item_tokens(dataset)
    matched, respellings = match_tokens(vectors.tokens, tokens)
    found = torch.tensor([-1, *matched])  # [N + 1]
    present = found >= 0
    _report(path, vectors.tokens, tokens, int(present.sum()), [each.note for each in respellings])
    knowledge = Knowledge(vectors.rows.index_select(0, found.clamp_min(0)), present)
    knowledge.rows[~present] = 0
    source = vectors.source
    del vectors  # before the rows of items are copied for the checks, where some have none: they are large
    items = knowledge.items
    check_repeated(source, items, refuse=not is_artifact(source))
    check_constant(source, items)
    return knowledge


def _report(path: str | Path, tokens: Sequence[str], items: Sequence[str], count: int, notes: Sequence[str]) -> None:
    """Say how many items have a vector, and what is odd about their tokens; refuse if none has."""
    hint = off_by_one(tokens, items) if count < len(items) and not notes else ""
    if not count:
        raise VectorsError(
            f"{path} has no vector of any item of the dataset: its tokens look like {next(iter(tokens), None)!r}, the "
            f"dataset's like {items[0]!r}; "
            + (f"{hint}; correct them" if hint else "name its rows with the dataset's item tokens")
        )
    log, missing, others = getLogger(), len(items) - count, len(tokens) - count
    for note in notes:
        log.warning(f"{path}: {note}")
    if hint:
        log.warning(f"{path}: {hint}. If so, vectors lie on wrong items: check how its tokens were counted")
    counted = f"{others:,} of {len(tokens):,} vectors in {path} are of items that the dataset does not have"
    if missing:
        log.warning(
            f"{missing:,} of {len(items):,} items have no vector in {path}; they start from a learned default"
            + (f". {counted}" if others else "")
        )
    elif others:
        log.info(counted)


def fusion_knowledge(
    path: str | Path | Sequence[str], dataset: Any, settings: KnowledgeFusionSettings, seed: int
) -> Knowledge:
    """The item vectors of a dataset, as they are fused: standardised once, for all models of a run.

    Args:
        path: as of :func:`load_knowledge`; several, as :func:`~recbole_tslrec.augmentation.vectors.listed_paths` takes
            them, stand side by side.
        dataset: a RecBole dataset.
        settings: whether the vectors become their principal components.
        seed: the seed of the principal components.

    Raises:
        VectorsError: as :func:`load_knowledge`.
        ArtifactError: as :func:`load_knowledge`.
    """
    parts = [load_knowledge(each, dataset) for each in listed_paths(path)]
    knowledge = join_sources(parts) if len(parts) > 1 else parts[0]
    if settings.fusion_pca_dimension:
        knowledge = reduce_to_components(knowledge, settings.fusion_pca_dimension, seed)
    return knowledge.standardised(in_place=True)


def join_sources(parts: Sequence[Knowledge]) -> Knowledge:
    """The vectors of several sources side by side (added here), each source standardised for itself.

    So none drowns another. An item that a source lacks has its mean there, and a one in a column of its own: the
    projection, one matrix for each source, then learns a default for each.

    Args:
        parts: of the same items, rows [N + 1, H_s].

    Returns:
        Knowledge of the items that any source has, rows [N + 1, sum of H_s and of the sources that lack some].
    """
    present = torch.stack([part.present for part in parts]).any(dim=0)  # [N + 1]
    columns = []
    for part in parts:
        columns.append(part.standardised().rows)
        lacking = present & ~part.present
        if lacking.any():
            columns.append(lacking.float().unsqueeze(1))
    return Knowledge(torch.cat(columns, dim=1), present)


def reduce_to_components(knowledge: Knowledge, dimension: int, seed: int) -> Knowledge:
    """Replace the rows by their first principal components, found over the items that have a vector.

    Args:
        knowledge: with rows [N + 1, H].
        dimension: how many components to keep, at most.
        seed: the seed of the randomised solver.

    Returns:
        Knowledge with rows [N + 1, min(dimension, items with a vector, H)].
    """
    items = knowledge.items
    largest = min(items.shape)
    if dimension > largest:
        getLogger().info(
            f"fusion_pca_dimension {dimension} is more than {items.shape[0]} vectors of width {items.shape[1]} have; "
            f"{largest} components are kept"
        )
    components = PrincipalComponents.of(items, min(dimension, largest), seed)
    rows = items.new_zeros(len(knowledge.rows), components.axes.shape[1])
    rows[knowledge.present] = components(items)
    return Knowledge(rows, knowledge.present, components)
