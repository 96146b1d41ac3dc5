"""Items that a trained model does not know, and where they stand among those that it knows."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from recbole_tslrec.serving.faults import Faults
from recbole_tslrec.serving.input_records import as_token, read_records
from recbole_tslrec.store.artifacts import Artifact
from recbole_tslrec.store.files import hash_arrays, hash_text

LINE = '{"item": "new", "similar": ["i1", "i2"]} or {"item": "new", "vector": [0.1, ...]}'
NewItem = Sequence[str] | Sequence[float] | Tensor  # tokens of similar items, or a stage-0 vector
_GIVEN = ("similar", "vector")


@dataclass(frozen=True)
class GivenItem:
    """What is said of a new item.

    Attributes:
        place: where it is said, such as ``line 3 (item 'x')``.
        token: the item; empty where there is none.
        given: tokens of similar items, or a stage-0 vector.
        fault: why it cannot be read; empty where it can.
    """

    place: str
    token: str
    given: Any = None
    fault: str = ""


@dataclass(frozen=True)
class NewItems:
    """Items that a trained model does not know.

    Attributes:
        tokens: n external tokens.
        similar: for each the tokens of the known items that it is like; none where a stage-0 embedding was given.
        vectors: stage-0 embeddings, float32 [n, d]; or knowledge by the encoder of the others, float32 [n, H].
    """

    tokens: list[str]
    similar: list[list[str]]
    vectors: Tensor

    @property
    def hash(self) -> str:
        """Equal for equal items."""
        return hash_text(json.dumps([self.tokens, self.similar, hash_arrays(self.vectors.numpy())]))


def given_items(items: Mapping[str, NewItem]) -> list[GivenItem]:
    """New items from Python."""
    return [GivenItem(f"item {token!r}", token, given) for token, given in items.items()]


def read_new_items(source: Path) -> Iterator[GivenItem]:
    """The new items of a file, see :func:`~recbole_tslrec.serving.input_records.read_records`.

    Raises:
        SourceError: the file cannot be read.
    """
    for place, record in read_records(source, _GIVEN):
        if isinstance(record, str):
            yield GivenItem(place, "", fault=record)
            continue
        token = as_token(record.get("item", record.get("item_id")))
        given = [name for name in _GIVEN if record.get(name) not in (None, [])]  # a table has both columns
        if token is None:
            yield GivenItem(place, "", fault="has no item that is text or a whole number")
        elif len(given) != 1 or not isinstance(record[given[0]], list):
            yield GivenItem(place, token, fault="has not one of the lists similar and vector")
        else:
            values = record[given[0]]
            read = [as_token(value) or value for value in values] if given[0] == "similar" else _numbers(values)
            yield GivenItem(f"{place} (item {token!r})", token, read)


def _numbers(values: Sequence[Any]) -> Sequence[Any]:
    """Numbers that are text in a table as numbers."""
    try:
        return [float(value) for value in values]
    except (TypeError, ValueError):
        return values


def place_new_items(
    items: Iterable[GivenItem],
    embeddings: Artifact,
    known: Sequence[str],
    skip_bad: bool = False,
    source: Path | None = None,
) -> NewItems:
    """Give each new item its stage-0 embedding.

    Args:
        items: for each new item either tokens of similar items, or a stage-0 embedding [d].
        embeddings: the ``item_embeddings`` artifact.
        known: the item tokens of the trained model.
        skip_bad: whether items that cannot be placed are left out, and counted in a warning.
        source: the file in which the items stand.

    Raises:
        ValueError: an item is known already or given twice, has an unknown neighbour, or a vector of the wrong width or
            that is not finite; says which.
    """
    table = embeddings.tensors()["item_embeddings"]  # [N, d]
    row_of = {token: row for row, token in enumerate(embeddings.item_tokens())}
    known_tokens = set(known)
    placed: dict[str, tuple[list[str], Tensor]] = {}
    faults, total = Faults(source, LINE), 0
    for item in items:
        total += 1
        try:
            if item.token in placed:
                raise _UnplacedError("gives its item a second time")
            placed[item.token] = _place(item, table, row_of, known_tokens)
        except _UnplacedError as error:
            faults.add(item.place, error.reason, error.detail, is_of_form=bool(item.fault))
    if not total:
        raise ValueError(f"there are no new items; give some, as lines {LINE}")
    faults.settle(total, skip_bad)
    similar, vectors = zip(*placed.values(), strict=True)
    return NewItems(list(placed), list(similar), torch.stack(vectors))


class _UnplacedError(Exception):
    """An item cannot be placed: for a reason that other items may share, and what is said of this one beside."""

    def __init__(self, reason: str, detail: str = "") -> None:
        self.reason, self.detail = reason, detail


def _place(item: GivenItem, table: Tensor, row_of: Mapping[str, int], known: Set[str]) -> tuple[list[str], Tensor]:
    """The tokens of similar items, none where a vector is given, and the stage-0 embedding [d]."""
    if item.fault:
        raise _UnplacedError(item.fault)
    if item.token in row_of or item.token in known:
        raise _UnplacedError("is known to the model already")
    if not _are_tokens(item.given):
        return [], _vector(item.given, table.shape[1])
    unknown = [token for token in item.given if token not in row_of or token not in known]
    if unknown:
        raise _UnplacedError("is said to be similar to an item that the model does not know", f", {unknown[0]!r}")
    return list(item.given), table[[row_of[token] for token in item.given]].double().mean(dim=0).float()


def _are_tokens(given: Any) -> bool:
    return isinstance(given, (list, tuple)) and len(given) > 0 and all(isinstance(one, str) for one in given)


def _vector(given: Any, width: int) -> Tensor:
    try:
        vector = torch.as_tensor(given, dtype=torch.float32)
    except (TypeError, ValueError, RuntimeError):
        vector = torch.empty(0)
    if not vector.numel():
        raise _UnplacedError("has neither a list of similar items' tokens nor a vector of numbers")
    if vector.shape != (width,):
        raise _UnplacedError(
            f"has a vector of another shape than ({width},), that of the model's stage-0 embeddings",
            f": {tuple(vector.shape)}",
        )
    if not vector.isfinite().all():
        raise _UnplacedError("has a vector that is not finite")
    return vector
