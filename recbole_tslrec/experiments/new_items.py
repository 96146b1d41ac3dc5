"""Items that training never sees: which they are, a run without their interactions, and their ranks after it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recbole_tslrec.augmentation.vectors import listed_paths
from recbole_tslrec.data.dataset import Data
from recbole_tslrec.data.histories import Histories
from recbole_tslrec.experiments.command import Command
from recbole_tslrec.models.backbones import BACKBONES
from recbole_tslrec.serving.recommend import leave_out, score_histories
from recbole_tslrec.serving.saved_model import SavedModel
from recbole_tslrec.settings import ConfigError
from recbole_tslrec.store.files import write_json

RANDOM, LATEST = "random", "latest"  # how new items are chosen
LEAST = 3  # interactions of a user, without which nothing is left to train on
_BATCH = 256
Ranks = tuple[NDArray[np.int64], NDArray[np.int64]]  # from 1: among all items, and among the new ones; [cases] each


@dataclass(frozen=True)
class NewItemCases:
    """The interactions with items that training never sees.

    Attributes:
        new: the tokens of these items.
        known: the tokens of all others.
        histories: for each interaction the tokens of the known items that its user had before, the oldest first.
        targets: the new item of each interaction.
        users: whose interaction each is, from 0.
    """

    new: list[str]
    known: list[str]
    histories: list[list[str]]
    targets: list[str]
    users: list[int]


def hold_out(data: Data, share: float, by: str) -> NewItemCases:
    """Take a share of the items for new ones.

    Args:
        data: all interactions.
        share: between 0 and 1.
        by: ``random``, always the same ones; or ``latest``, those that came last.
    """
    count = len(data.item_tokens)
    order = np.random.default_rng(0).permutation(count) if by == RANDOM else _by_first_time(data)
    is_new = np.zeros(count + 1, dtype=bool)
    is_new[1 + order[count - max(1, round(share * count)) :]] = True
    histories, targets, users = [], [], []
    for user, history, target in _cases(data.full, is_new):
        users.append(user)
        histories.append([data.item_tokens[item - 1] for item in history])
        targets.append(data.item_tokens[target - 1])
    tokens = np.array(data.item_tokens)
    return NewItemCases(tokens[is_new[1:]].tolist(), tokens[~is_new[1:]].tolist(), histories, targets, users)


def _by_first_time(data: Data) -> NDArray[np.int64]:
    """The items (from 0) in the order in which they first appeared, int64 [N]."""
    dataset = data.dataset
    if dataset.time_field not in dataset.inter_feat:
        raise ConfigError(f"[{dataset.dataset_name}] has no times; choose new items with --new_by={RANDOM}")
    firsts = dataset.inter_feat.groupby(dataset.iid_field)[dataset.time_field].min()
    return np.argsort(firsts.reindex(range(1, dataset.item_num), fill_value=0.0).to_numpy(), kind="stable")


def _cases(full: Histories, is_new: NDArray[np.bool_]) -> Iterator[tuple[int, list[int], int]]:
    """Each interaction with a new item whose user has had a known one before: the user, these, and the new one."""
    for user in range(len(full)):
        items, history = full[user], list[int]()
        for item in items.tolist():
            if not is_new[item]:
                history.append(item)
            elif history:
                yield user, history.copy(), item


def without_new_items(command: Command, cases: dict[str, NewItemCases]) -> Command:
    """The same command on data that have lost the interactions with new items.

    Args:
        command: what is asked for.
        cases: by dataset.

    Raises:
        ConfigError: the command has a ``val_interval`` of its own.
    """
    folder = command.output_dir / "without_new_items"
    folder.mkdir(parents=True, exist_ok=True)
    for dataset, own in cases.items():
        config = command.config(dataset=dataset)
        if config["val_interval"] is not None:
            raise ConfigError(
                "report cold keeps new items away with val_interval; leave it out, and filter the data before"
            )
        filters: dict[str, Any] = {"val_interval": {config["ITEM_ID_FIELD"]: own.known}}
        if config["user_inter_num_interval"] in (None, "[0,inf)"):
            filters["user_inter_num_interval"] = f"[{LEAST},inf)"
        write_json(folder / f"{dataset}.yaml", filters)  # JSON is yaml too
    return replace(command, output_dir=folder, config_files=(*command.config_files, str(folder / "{dataset}.yaml")))


def new_item_ranks(saved: SavedModel, cases: NewItemCases) -> Ranks:
    """The ranks of the targets by a model that knows the new items; equal scores stand before the target."""
    return _ranks(lambda histories: score_histories(saved, histories).cpu(), saved, cases)


def vector_ranks(vectors: Tensor, saved: SavedModel, cases: NewItemCases) -> Ranks:
    """The same without a trained model: by the cosine between an item's vector and the mean of the history's.

    Args:
        vectors: [N + 1, H], of the items of ``saved``.
        saved: whose ids count.
        cases: the interactions.
    """
    table = torch.nn.functional.normalize(vectors)
    return _ranks(
        lambda histories: torch.stack([table[items].mean(dim=0) for items in histories]) @ table.T, saved, cases
    )


def _ranks(score: Callable[[list[list[int]]], Tensor], saved: SavedModel, cases: NewItemCases) -> Ranks:
    new, among_all, among_new = torch.tensor(saved.item_ids(cases.new)), [], []
    for start in range(0, len(cases.targets), _BATCH):
        part = slice(start, start + _BATCH)
        histories = [saved.item_ids(history) for history in cases.histories[part]]
        scores = score(histories)  # [B, N + 1]
        own = scores.gather(1, torch.tensor(saved.item_ids(cases.targets[part])).unsqueeze(1))  # [B, 1]
        leave_out(scores, histories)
        among_all.append((scores >= own).sum(dim=1))
        among_new.append((scores[:, new] >= own).sum(dim=1))
    return torch.cat(among_all).numpy(), torch.cat(among_new).numpy()


def check_knows_items_only(backbones: Sequence[str]) -> None:
    """Refuse backbones that rank for users that they were trained on, not for histories.

    Raises:
        ConfigError: names one.
    """
    for name in backbones:
        if name in BACKBONES and BACKBONES[name].knows_users:
            raise ConfigError(
                f"report cold ranks for histories, and {name} has an embedding per user; leave it out of --models"
            )


def check_vectors_given(config: Any) -> str:
    """The path of the vectors.

    Raises:
        ConfigError: there is none, or it is several.
    """
    paths = listed_paths(config["knowledge_path"]) if config["knowledge_path"] else []
    if len(paths) != 1:
        raise ConfigError(
            "report cold needs one file of item vectors, those of new items among them: --knowledge_path=FILE; an id "
            "says nothing of an item that training never sees"
        )
    return str(paths[0])
