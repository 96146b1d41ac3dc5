"""Item vectors from any source: an export of this package, or a file that somebody else's encoder has left."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from recbole_tslrec.augmentation.hub_vectors import fetch_vectors
from recbole_tslrec.augmentation.vector_files import check_kind, has_own_tokens, read_file
from recbole_tslrec.augmentation.vector_rows import TOKENS, VectorsError, tokens_beside
from recbole_tslrec.settings.base import listed
from recbole_tslrec.store.artifacts import Artifact, open_artifact, write_item_table
from recbole_tslrec.store.contents import ContentHashes
from recbole_tslrec.store.hub import is_hub_address

KNOWLEDGE, CATEGORIES = "knowledge", "category_distribution"  # h^v and g-hat^v in an artifact
_BLOCK = 4096  # rows that are looked at at once


@dataclass(frozen=True)
class ItemVectors:
    """Vectors and whose they are.

    Attributes:
        tokens: N external item tokens, no two alike.
        rows: float32 [N, H], finite.
        source: where they were read.
    """

    tokens: list[str]
    rows: Tensor
    source: Path


def read_vectors(path: str | Path) -> ItemVectors:
    """Read item vectors; whole numbers as tokens become their decimal strings.

    Args:
        path: a ``knowledge`` artifact, or a file, which is known by its content: safetensors (its only 2-d tensor, or
            the one named ``knowledge``; tokens as a JSON list in its metadata, or in ``tokens.txt`` beside it, one a
            line); ``.npy`` [N, H] with ``tokens.txt``; ``.npz`` (a 2-d array, and a 1-d array of tokens or
            ``tokens.txt``); parquet, feather, CSV, TSV and JSON lines, as
            :func:`~recbole_tslrec.augmentation.vector_tables.tokens_and_rows` takes them; or RecBole's atomic file
            ``.itememb`` (a ``token`` field and a ``float_seq`` field, or ``float`` fields). Text may be packed. Or the
            address of one on the hub, see :mod:`recbole_tslrec.augmentation.hub_vectors`.

    Raises:
        VectorsError: no such file, or one of a kind that is not read; tokens are missing, too few or given twice, or
            the vectors are ragged, not 2-d or not finite; says which file and what to do.
        ArtifactError: the artifact is damaged or of another kind.
        HubError: the hub cannot give them.
    """
    path = check_vectors_path(path)
    tokens, rows = _read_artifact(path) if is_artifact(path) else read_file(path)
    check_rows(path, tokens, rows)
    return ItemVectors(list(tokens), rows, path)


def listed_paths(value: Any) -> list[Any]:
    """What ``knowledge_path`` names: one path, several with commas between, or a list of paths."""
    if isinstance(value, str | Path):
        text = str(value)
        return [text] if Path(text).exists() else listed(text)
    return list(value) if isinstance(value, list | tuple) else [value]


def check_vectors_path(path: str | Path) -> Path:
    """Refuse what :func:`read_vectors` could not even open.

    Returns:
        The path; of an address on the hub, where its files lie now.

    Raises:
        VectorsError: there is no such file, it is of a kind that is not read, or ``tokens.txt`` is missing.
        HubError: see :func:`recbole_tslrec.augmentation.hub_vectors.fetch_vectors`.
    """
    path = fetch_vectors(path) if is_hub_address(path) else Path(path)
    if is_artifact(path):
        return path
    if not path.is_file():
        raise VectorsError(f"{path} does not exist; check the path")
    if not has_own_tokens(path, check_kind(path)):
        tokens_beside(path)
    return path


def open_vectors(path: str | Path, hashes: ContentHashes) -> Artifact:
    """A knowledge artifact, or a file of vectors as if it were one: its contents decide what is found again.

    Args:
        path: the path of either.
        hashes: the hashes of files that were read before.

    Raises:
        VectorsError: as :func:`check_vectors_path`.
        ArtifactError: as :func:`recbole_tslrec.store.artifacts.open_artifact`.
    """
    path = check_vectors_path(path)
    if is_artifact(path):
        return open_artifact(path, "knowledge")
    files = {"vectors": path, TOKENS: path.with_name(TOKENS)}
    found = {name: hashes.of(file) for name, file in files.items() if file.is_file()}
    return Artifact(path, {"files": found, "seconds": 0.0})


def write_vectors(folder: Path, tokens: Sequence[str], rows: Tensor, known: Tensor | None = None) -> None:
    """Write the files of a ``knowledge`` artifact.

    Args:
        folder: where.
        tokens: of all items.
        rows: a vector for each, float32 [N, H].
        known: whether an item has one at all, bool [N]; the others are left out. ``None`` for all.
    """
    if known is not None:
        tokens = [token for token, is_known in zip(tokens, known, strict=True) if is_known]
        rows = rows[known]
    write_item_table(folder, tokens, {KNOWLEDGE: rows})


def is_artifact(path: Path) -> bool:
    """Whether a path is taken for that of an artifact, there or not."""
    return path.is_dir() or not (path.suffix or path.is_file())


def _read_artifact(folder: Path) -> tuple[list[str], Tensor]:
    artifact = open_artifact(folder, "knowledge")
    return artifact.item_tokens(), artifact.tensors()[KNOWLEDGE].float()


def check_rows(path: Path, tokens: Sequence[str], rows: Tensor) -> None:
    """Refuse what would train on the wrong vectors.

    Raises:
        VectorsError: they are not 2-d or not finite, or tokens are too few or given twice.
    """
    if rows.dim() != 2:
        raise VectorsError(f"{path} holds an array of shape {tuple(rows.shape)}; item vectors are 2-d, [items, width]")
    if len(tokens) != len(rows):
        raise VectorsError(f"{path} has {len(rows)} rows but {len(tokens)} item tokens; give one token for each row")
    twice = [token for token, count in Counter(tokens).items() if count > 1]
    if twice:
        raise VectorsError(f"{path} has {len(twice)} item tokens more than once, the first is {twice[0]!r}; keep one")
    finite = torch.cat([block.isfinite().all(dim=1) for block in torch.split(rows, _BLOCK)])
    if not finite.all():
        first = tokens[int((~finite).nonzero()[0])]
        raise VectorsError(
            f"{path} has {int((~finite).sum())} vectors that are not finite, the first is of item {first!r}; compute "
            "them again, in float32 if they were in half precision"
        )
