"""New users without retraining: the best next items for histories of external tokens."""

import argparse
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from logging import getLogger
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from recbole_tslrec.models.backbones import BACKBONES
from recbole_tslrec.models.names import parse_model_name
from recbole_tslrec.serving.json_lines import malformed_line, read_json_lines
from recbole_tslrec.serving.saved_model import SavedModel, best_device, load_model
from recbole_tslrec.store.files import beside

LINE = '{"user": "u1", "items": ["i1", "i2"]}'
History = tuple[str, Sequence[Any]]  # a user, and the tokens of the items in time order
Recommendation = list[tuple[str, float]]  # item tokens and their scores, best first


def recommend(
    model_folder: str | Path,
    histories: Mapping[str, Sequence[str]],
    k: int = 10,
    mask_history: bool = True,
    batch_size: int = 256,
    device: str | torch.device | None = None,
) -> dict[str, Recommendation]:
    """The k best next items of each user.

    Items that the model does not know are skipped and counted in a warning. Of a history longer than
    ``MAX_ITEM_LIST_LENGTH`` the model sees the most recent items.

    Args:
        model_folder: a ``recommender`` or ``backbone`` artifact.
        histories: for each user the tokens of the items, in time order.
        k: how many items.
        mask_history: whether to leave out the items of the history, those that the model does not see as well.
        batch_size: users scored at once; their scores of all items are held.
        device: where to compute; ``None`` takes a GPU if there is one.

    Returns:
        For each user item tokens and scores, best first.

    Raises:
        ArtifactError: the folder holds no trained model, or is damaged.
        ValueError: the model has an embedding per user; a user has no known item; k is more than there are items to
            choose from. Nothing is computed then.
    """
    saved = load_for_new_users(model_folder, device)
    check_histories(saved, histories.items(), k, mask_history)
    return dict(rank_items(saved, histories.items(), k, mask_history, batch_size))


def load_for_new_users(model_folder: str | Path, device: str | torch.device | None = None) -> SavedModel:
    """A saved model that knows items only.

    Raises:
        ArtifactError: the folder holds no trained model, or is damaged.
        ValueError: the model has an embedding per user.
    """
    saved = load_model(model_folder, device or best_device())
    if BACKBONES[parse_model_name(saved.name).backbone].knows_users:
        raise ValueError(
            f"{saved.name} has an embedding per user, so it has nothing to say about users that it was not trained "
            "on; train a model of items only, such as TSLRecSASRec"
        )
    return saved


def check_histories(saved: SavedModel, histories: Iterable[History], k: int, mask_history: bool) -> int:
    """Look through all histories before anything is computed, and warn of unknown items.

    Returns:
        The number of histories.

    Raises:
        ValueError: a user has no known item; k is below 1, or more than there are items to choose from.
    """
    items = len(saved.item_tokens)
    if not 1 <= k <= items:
        raise ValueError(f"k [{k}] must lie between 1 and the {items} items that {saved.name} knows")
    count, unknown, without = 0, _Counted(), _Counted()
    for user, tokens in histories:
        count += 1
        known = saved.item_ids(tokens)
        for token in tokens:
            if str(token) not in saved.id_of_item:
                unknown.add(token)
        left = items - len(set(known)) if mask_history else items
        if not known:
            without.add(user)
        elif k > left:
            raise ValueError(
                f"k [{k}] is more than the {left} items that are left for user {user!r} without those of the history; "
                "lower it, or keep the history (mask_history=False, --keep_history)"
            )
    if without.count:
        raise ValueError(
            f"{without.count} of {count} histories have no item that {saved.name} knows, the first is that of user "
            f"{without.first!r}; leave them out, or name items as the training data does, such as "
            f"{saved.item_tokens[0]!r}"
        )
    if unknown.count:
        getLogger().warning(
            f"{unknown.count} items of the histories are unknown to {saved.name} and were skipped, the first is "
            f"{unknown.first!r}"
        )
    return count


@dataclass
class _Counted:
    """How many there were, and the first of them."""

    count: int = 0
    first: Any = None

    def add(self, one: Any) -> None:
        self.first = self.first if self.count else one
        self.count += 1


def rank_items(
    saved: SavedModel, histories: Iterable[History], k: int, mask_history: bool, batch_size: int
) -> Iterator[tuple[str, Recommendation]]:
    """The k best next items of histories that were checked, batch by batch.

    Raises:
        ValueError: ``batch_size`` is below 1.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be a whole number above 0, not [{batch_size}]")
    rows = iter(histories)
    while batch := list(islice(rows, batch_size)):
        known = [saved.item_ids(tokens) for _, tokens in batch]
        scores = score_histories(saved, known)  # [B, N + 1]
        scores[:, 0] = -torch.inf
        if mask_history:
            user = torch.arange(len(known)).repeat_interleave(torch.tensor([len(items) for items in known]))
            scores[user, torch.tensor(list(chain.from_iterable(known)))] = -torch.inf
        best = scores.topk(k, dim=1)
        for (name, _), values, ids in zip(batch, best.values.tolist(), best.indices.tolist(), strict=True):
            yield name, [(saved.item_tokens[item - 1], value) for item, value in zip(ids, values, strict=True)]


def score_histories(saved: SavedModel, histories: Sequence[Sequence[int]]) -> Tensor:
    """The scores of all items for histories of item ids 1..N, of which the most recent are seen, [B, N + 1]."""
    recent = [torch.tensor(items[-saved.max_length :]) for items in histories]
    item_seq = torch.zeros(len(recent), saved.max_length, dtype=torch.int64)
    for row, items in zip(item_seq, recent, strict=True):
        row[: len(items)] = items
    return saved.scores(item_seq, torch.tensor([len(items) for items in recent]))


def recommend_file(
    model_folder: str | Path, source: Path, output: Path, k: int = 10, mask_history: bool = True, batch_size: int = 256
) -> None:
    """:func:`recommend` from one file of JSON lines to another, which never lie in memory as a whole.

    Args:
        model_folder: a ``recommender`` or ``backbone`` artifact.
        source: lines as :data:`LINE`.
        output: lines ``{"user": "u1", "items": [...], "scores": [...]}``, best first; put into place when whole.
        k: how many items.
        mask_history: whether to leave out the items of the history.
        batch_size: users scored at once.

    Raises:
        ArtifactError: as :func:`recommend`.
        ValueError: as :func:`recommend`; a line of ``source`` is malformed, or ``output`` cannot be.
    """
    if not output.parent.is_dir():
        raise ValueError(f"{output} cannot be written: there is no folder {output.parent}; make it first")
    saved = load_for_new_users(model_folder)
    count = check_histories(saved, read_histories(source), k, mask_history)
    ranked = rank_items(saved, read_histories(source), k, mask_history, batch_size)
    temporary = beside(output, "tmp")
    with temporary.open("w", encoding="utf-8") as file:
        for user, best in tqdm(ranked, "Recommend", count, unit="user", disable=not sys.stderr.isatty()):
            line = {"user": user, "items": [item for item, _ in best], "scores": [score for _, score in best]}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
    os.replace(temporary, output)


def read_histories(source: Path) -> Iterator[History]:
    """The histories of a file of JSON lines; blank lines count for nothing.

    Raises:
        ValueError: there is no such file, or a line is malformed; says which.
    """
    for number, line in read_json_lines(source, LINE):
        user, items = line.get("user"), line.get("items")
        if not isinstance(user, (str, int)) or not isinstance(items, list):
            raise malformed_line(source, number, LINE)
        yield str(user), items


def main(argv: Sequence[str]) -> None:
    """``python -m recbole_tslrec recommend``: from histories in a file to recommendations in another."""
    parser = argparse.ArgumentParser(
        prog="python -m recbole_tslrec recommend",
        description="The best next items for users that the model has never seen.",
        allow_abbrev=False,
    )
    parser.add_argument("--model_folder", required=True, help="the folder of a trained model: recommender-... ")
    parser.add_argument("--input", required=True, type=Path, help=f"a file with lines {LINE}")
    parser.add_argument("--output", required=True, type=Path, help='lines {"user": ..., "items": ..., "scores": ...}')
    parser.add_argument("--k", type=int, default=10, help="items per user (default: 10)")
    parser.add_argument("--keep_history", action="store_true", help="also recommend items of the user's own history")
    parser.add_argument("--batch_size", type=int, default=256, help="users scored at once (default: 256)")
    given = parser.parse_args(argv)
    recommend_file(given.model_folder, given.input, given.output, given.k, not given.keep_history, given.batch_size)
