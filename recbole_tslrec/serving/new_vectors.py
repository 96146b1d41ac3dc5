"""New items by their vectors: from the encoder whose vectors a model was trained with, into the table of that model."""

from collections import Counter
from collections.abc import Mapping, Sequence
from logging import getLogger
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize

from recbole_tslrec.augmentation.projection import KnowledgeProjection
from recbole_tslrec.augmentation.token_matching import Respelling, match_tokens
from recbole_tslrec.augmentation.vector_rows import VectorsError
from recbole_tslrec.augmentation.vectors import ItemVectors, check_rows, read_vectors
from recbole_tslrec.serving.new_items import NewItems
from recbole_tslrec.serving.saved_model import ModelFiles

NEIGHBOURS = 3  # whose ID parts make that of a new item; more say less among all items, fewer less among new ones
_ALIKE = 0.99  # mean cosine of one encoder's vectors, computed twice
_BLOCK = 256  # new items that are compared with all others at once

Vectors = str | Path | Mapping[str, Sequence[float] | Tensor]  # what --knowledge_path takes, or rows by token


def read_new_vectors(given: Vectors) -> ItemVectors:
    """Vectors from a file or from Python.

    Raises:
        VectorsError: as :func:`recbole_tslrec.augmentation.vectors.read_vectors`.
    """
    if isinstance(given, str | Path):
        return read_vectors(given)
    try:
        rows = torch.stack([torch.as_tensor(row, dtype=torch.float32) for row in given.values()])
    except (TypeError, ValueError, RuntimeError) as error:
        raise VectorsError(f"vectors of new items cannot be read ({error}); give as many numbers for each") from error
    vectors = ItemVectors(list(given), rows, Path("what was given"))
    check_rows(vectors.source, vectors.tokens, rows)
    return vectors


def place_new_vectors(files: ModelFiles, vectors: ItemVectors, must_compare: bool = False) -> NewItems:
    """Those of the vectors whose items the model does not know, each with its nearest known items.

    Args:
        files: a TSLRec model's.
        vectors: of new items; what the file has of known ones shows whether both are of one encoder.
        must_compare: whether to refuse vectors among which there is none of a known item.

    Raises:
        VectorsError: they are of another width, or differ from the model's own, or cannot be compared with them; or no
            item is new.
    """
    source = _projection(files)
    if vectors.rows.shape[1] != source.vector_width:
        raise VectorsError(
            f"{vectors.source} has vectors of width {vectors.rows.shape[1]}, the model was trained with width "
            f"{source.vector_width}; give vectors of the same encoder"
        )
    matched, respellings = match_tokens(vectors.tokens, files.item_tokens)
    row_of_item = torch.tensor(matched)  # [N], -1 where the file has none
    former = 1 + torch.nonzero(row_of_item >= 0).squeeze(1)
    is_new = torch.ones(len(vectors.tokens), dtype=torch.bool)
    is_new[row_of_item[former - 1]] = False
    rows = source.standardised(vectors.rows)  # [n, H]
    _check_one_encoder(vectors.source, source, former, rows[row_of_item[former - 1]], must_compare)
    tokens = _spelled_as_known([vectors.tokens[row] for row in torch.nonzero(is_new).squeeze(1).tolist()], respellings)
    if not tokens:
        raise VectorsError(f"the model knows every item of {vectors.source}; there is nothing to add")
    for respelling in respellings:
        getLogger().warning(f"{vectors.source}: {respelling.note}, and new items are written likewise: {tokens[0]!r}")
    getLogger().info(f"{vectors.source}: {len(tokens):,} new items; the model knows the other {len(former):,}")
    similar = [[files.item_tokens[item - 1] for item in items] for items in nearest(source, rows[is_new]).tolist()]
    return NewItems(tokens, similar, vectors.rows[is_new])


def _spelled_as_known(tokens: list[str], respellings: Sequence[Respelling]) -> list[str]:
    """Tokens without the differences by which those of known items differ from the dataset's."""
    for respelling in respellings:
        spelled = [respelling.spell(token) for token in tokens]
        twice = {token for token, count in Counter(spelled).items() if count > 1}
        tokens = [own if new in twice else new for own, new in zip(tokens, spelled, strict=True)]
    return tokens


def nearest(source: KnowledgeProjection, rows: Tensor, count: int = NEIGHBOURS) -> Tensor:
    """The items whose knowledge is nearest to some rows by the cosine, the nearest first.

    Args:
        source: the knowledge of the N known items.
        rows: standardised as it is, [n, H].
        count: how many; as many as there are, if these are fewer.

    Returns:
        Item ids, int64 [n, count].
    """
    items = torch.arange(1, source.item_rows)
    if source.present is not None:
        items = items[source.present[1:]]
    table = normalize(source.knowledge[items]).T  # [H, items]
    blocks = [(normalize(block) @ table).topk(min(count, len(items))).indices for block in torch.split(rows, _BLOCK)]
    return items[torch.cat(blocks)]


def _projection(files: ModelFiles) -> KnowledgeProjection:
    model: Any = files.build().model
    return next(module for module in model.modules() if isinstance(module, KnowledgeProjection))


def _check_one_encoder(
    path: Path, source: KnowledgeProjection, items: Tensor, rows: Tensor, must_compare: bool
) -> None:
    """Refuse vectors that are not, of known items, what the model was trained with."""
    if source.present is not None:
        rows, items = rows[source.present[items]], items[source.present[items]]
    if must_compare and not len(items):
        raise VectorsError(
            f"the model's vectors were not given with knowledge_path, and {path} has none of an item that it knows to "
            "show that both are alike; add vectors of known items by the same method"
        )
    if len(items) and (alike := float(cosine_similarity(rows, source.knowledge[items]).mean())) < _ALIKE:
        raise VectorsError(
            f"{path} has other vectors of the {len(items):,} items that the model knows than it was trained with (mean "
            f"cosine {alike:.2f}); give vectors of the same encoder, or train again"
        )
