"""Who interacted with what before the held-out items: the only view of the users that Stages 1 and 2 get."""

from dataclasses import dataclass
from logging import getLogger
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recbole_tslrec.compatibility import sort_by_time
from recbole_tslrec.data.ties import tied
from recbole_tslrec.store.files import hash_arrays


@dataclass(frozen=True)
class Histories:
    """The interactions of users, each in time order, in one flat array.

    Attributes:
        user_tokens: U external user tokens.
        items: item ids (1..N), int64 [sum of lengths].
        offsets: user u has ``items[offsets[u]:offsets[u + 1]]``, int64 [U + 1].
    """

    user_tokens: list[str]
    items: NDArray[np.int64]
    offsets: NDArray[np.int64]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Interactions of each user, [U]."""
        return np.diff(self.offsets)

    def __len__(self) -> int:
        return len(self.user_tokens)

    def __getitem__(self, user: int) -> NDArray[np.int64]:
        return self.items[self.offsets[user] : self.offsets[user + 1]]

    def first(self, count: NDArray[np.int64]) -> "Histories":
        """The first ``count[u]`` interactions of each user."""
        position = np.arange(len(self.items)) - np.repeat(self.offsets[:-1], self.lengths)
        return self.where(position < np.repeat(count, self.lengths))

    def where(self, kept: NDArray[np.bool_]) -> "Histories":
        """The interactions for which ``kept``, bool [sum of lengths], holds; a user may be left with none."""
        before = np.concatenate([[0], np.cumsum(kept)])  # interactions kept before each
        return Histories(self.user_tokens, self.items[kept], before[self.offsets])


def full_histories(dataset: Any) -> Histories:
    """Every interaction of every user, ordered by (float64) time.

    Of files that were split already they are the targets of all rows, without times in the order of the files.

    Args:
        dataset: a RecBole dataset before ``data_preparation``, which rewrites the interactions in place.
    """
    interactions = _in_order(dataset)
    lengths = np.bincount(interactions[dataset.uid_field].to_numpy())
    users = np.flatnonzero(lengths)
    tokens = [str(token) for token in dataset.field2id_token[dataset.uid_field][users]]
    items = interactions[dataset.iid_field].to_numpy().astype(np.int64, copy=False)
    return Histories(tokens, items, np.concatenate([[0], np.cumsum(lengths[users])]))


def _in_order(dataset: Any) -> Any:
    if dataset.time_field in dataset.inter_feat:
        ordered = sort_by_time(dataset)
        ties = tied(ordered[dataset.uid_field].to_numpy(), ordered[dataset.time_field].to_numpy())
        if ties:
            getLogger().warning(
                f"{ties / len(ordered):.1%} of the interactions of [{dataset.dataset_name}] have the time of another "
                "interaction of their user; among these the order is that of the file"
            )
        return ordered
    rows = dataset.inter_feat
    return rows.take(np.argsort(rows[dataset.uid_field].to_numpy(), kind="stable"))


def training_histories(full: Histories, train_dataset: Any) -> Histories:
    """The training part of each user's interactions: what RecBole's split left in ``train_dataset``, and no more.

    RecBole turns a user's n interactions into n - 1 rows (a prefix and its next item) and gives the earliest rows to
    the training set, so t training rows of a user stand for their first t + 1 interactions.

    Args:
        full: all histories of the same dataset.
        train_dataset: the training dataset after ``data_preparation``.

    Raises:
        ValueError: a user has no training interaction, or the split was made outside RecBole (``benchmark_filename``).
    """
    if train_dataset.benchmark_filename_list is not None:
        raise ValueError(
            "benchmark_filename gives rows that are split already, from which the users' training interactions cannot "
            "be told, and stage 1 is made from these; give the plain .inter file and let RecBole split it, or item "
            "vectors with --knowledge_path"
        )
    ids = train_dataset.inter_feat[train_dataset.uid_field].numpy()
    rows_per_user = np.bincount(ids, minlength=train_dataset.user_num)
    token_to_id = train_dataset.field2token_id[train_dataset.uid_field]
    rows = rows_per_user[[token_to_id[token] for token in full.user_tokens]]
    empty = np.flatnonzero(rows == 0)
    if len(empty):
        raise ValueError(
            f"{len(empty)} of {len(full)} users have no training interaction, the first is "
            f"{full.user_tokens[empty[0]]!r} with {full.lengths[empty[0]]} interaction(s) in all; leave such users out "
            'with --user_inter_num_interval="[3,inf)"'
        )
    return full.first(rows + 1)


def fingerprint(dataset: Any, full: Histories) -> dict[str, Any]:
    """Name, counts and a hash of the interactions by external tokens and times, for manifests and recipes.

    Args:
        dataset: a RecBole dataset before ``data_preparation``, its interactions by (user, time) unless they come from
            files that were split already.
        full: its histories.
    """
    item_tokens = np.array(dataset.field2id_token[dataset.iid_field], dtype=object)
    arrays = [np.array(full.user_tokens, dtype=object), item_tokens, full.items, full.offsets]
    if dataset.benchmark_filename_list is not None:
        arrays += _split_arrays(dataset)
    elif dataset.time_field in dataset.inter_feat:  # some splits go by the times of all users together
        arrays.append(dataset.inter_feat[dataset.time_field].to_numpy().astype(np.float64, copy=False))
    return {
        "name": dataset.dataset_name,
        "users": len(full),
        "items": len(item_tokens) - 1,
        "interactions": len(full.items),
        "fingerprint": hash_arrays(*arrays),
    }


def _split_arrays(dataset: Any) -> list[NDArray[Any]]:
    """What files that were split already hold beside their targets: the parts, and the history in each row."""
    rows = dataset.inter_feat
    histories = rows[dataset.item_id_list_field].to_numpy()
    lengths = np.array([len(history) for history in histories], dtype=np.int64)
    users = rows[dataset.uid_field].to_numpy().astype(np.int64)
    return [
        np.array(dataset.file_size_list, dtype=np.int64),
        users,
        lengths,
        np.concatenate(histories).astype(np.int64),
    ]


def hold_out_users(user_count: int, valid_ratio: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split the users at random into those to train on and those to choose the epoch by; neither is empty.

    Raises:
        ValueError: there are fewer than two users, or the ratio does not lie between 0 and 1.
    """
    if user_count < 2 or not 0 < valid_ratio < 1:
        raise ValueError(f"cannot hold out a share [{valid_ratio}] of {user_count} users; check --sft_valid_ratio")
    held_out = min(max(1, round(user_count * valid_ratio)), user_count - 1)
    order = np.random.default_rng(seed).permutation(user_count)
    return np.sort(order[held_out:]), np.sort(order[:held_out])
