"""Items that a trained model does not know, and where they stand among those that it knows."""

import hashlib
import json
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from recbole_tslrec.serving.json_lines import malformed_line, read_json_lines
from recbole_tslrec.store.artifacts import Artifact

LINE = '{"item": "new", "similar": ["i1", "i2"]} or {"item": "new", "vector": [0.1, ...]}'
NewItem = Sequence[str] | Sequence[float] | Tensor  # tokens of similar items, or a stage-0 vector


@dataclass(frozen=True)
class NewItems:
    """Items that a trained model does not know.

    Attributes:
        tokens: n external tokens.
        similar: for each the tokens of the known items that it is like; none where a vector was given.
        vectors: stage-0 embeddings, float32 [n, d].
    """

    tokens: list[str]
    similar: list[list[str]]
    vectors: Tensor

    @property
    def hash(self) -> str:
        """Equal for equal items."""
        content = json.dumps([self.tokens, self.similar, self.vectors.tolist()])
        return hashlib.sha256(content.encode()).hexdigest()


def place_new_items(items: Mapping[str, NewItem], embeddings: Artifact, known: Sequence[str]) -> NewItems:
    """Give each new item its stage-0 embedding.

    Args:
        items: for each new token either tokens of similar items, or a stage-0 embedding [d].
        embeddings: the ``item_embeddings`` artifact.
        known: the item tokens of the trained model.

    Raises:
        ValueError: an item is known already, has an unknown neighbour, or a vector of the wrong width or that is not
            finite.
    """
    if not items:
        raise ValueError(f"there are no new items; give some, as lines {LINE}")
    table = embeddings.tensors()["item_embeddings"]  # [N, d]
    row_of = {token: row for row, token in enumerate(embeddings.item_tokens())}
    known_tokens = set(known)
    similar, vectors = [], []
    for token, given in items.items():
        if token in row_of or token in known_tokens:
            raise ValueError(f"item {token!r} is known to the model already; leave it out")
        similar.append(_similar_tokens(token, given, row_of.keys() & known_tokens))
        rows = [row_of[one] for one in similar[-1]]
        vectors.append(table[rows].double().mean(dim=0).float() if rows else _vector(token, given, table.shape[1]))
    return NewItems(list(items), similar, torch.stack(vectors))


def _similar_tokens(token: str, given: Any, known: Set[str]) -> list[str]:
    """The tokens of similar items, or none where something else is given."""
    if not isinstance(given, (list, tuple)) or not all(isinstance(one, str) for one in given):
        return []
    unknown = [one for one in given if one not in known]
    if unknown:
        raise ValueError(
            f"item {token!r} is said to be similar to {unknown[0]!r}, which the model does not know; name items that "
            "it was trained with"
        )
    return list(given)


def _vector(token: str, given: Any, width: int) -> Tensor:
    try:
        vector = torch.as_tensor(given, dtype=torch.float32)
    except (TypeError, ValueError, RuntimeError):
        vector = torch.empty(0)
    if not vector.numel():
        raise ValueError(
            f"item {token!r} has neither a list of similar items' tokens nor a vector of numbers; give one of them"
        )
    if vector.shape != (width,):
        raise ValueError(
            f"the vector of item {token!r} has shape {tuple(vector.shape)}, the model's stage-0 embeddings have "
            f"({width},); give a vector in their space, or name similar items"
        )
    if not vector.isfinite().all():
        raise ValueError(f"the vector of item {token!r} is not finite; leave the item out, or name similar items")
    return vector


def read_new_items(source: Path) -> dict[str, NewItem]:
    """The new items of a file of JSON lines.

    Raises:
        ValueError: there is no such file, a line is malformed, or an item is given twice; says which.
    """
    items: dict[str, NewItem] = {}
    for number, line in read_json_lines(source, LINE):
        token, keys = line.get("item"), line.keys() & {"similar", "vector"}
        given = line[keys.pop()] if len(keys) == 1 else None
        if not isinstance(token, (str, int)) or not isinstance(given, list):
            raise malformed_line(source, number, LINE)
        if str(token) in items:
            raise ValueError(f"{source}, line {number} gives item {token!r} a second time; keep one of the lines")
        items[str(token)] = [str(one) for one in given] if "similar" in line else given
    return items
