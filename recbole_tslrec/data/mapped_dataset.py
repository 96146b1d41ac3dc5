"""RecBole's ``Dataset`` as files of arrays, and filled from them without reading a line of text.

``interactions.<n>.npy`` is a column of the interactions by (user, time); user u of ``users.npy`` has those from
``offsets.npy`` [u] to [u + 1]. ``targets_by_time.npy`` and ``rows_by_group.npy`` are the orders in which RecBole's
splits go through the training rows. ``tokens.<n>`` are the tokens of ids, ``user.<n>`` and ``item.<n>`` the columns of
the files of users and items. ``dataset.json`` says which column is which, and their types.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from recbole.utils.enum_type import FeatureSource, FeatureType

from recbole_tslrec.compatibility.row_groups import Groups
from recbole_tslrec.data.histories import Histories
from recbole_tslrec.store.array_files import map_array, read_tokens, write_array, write_tokens
from recbole_tslrec.store.files import read_json, write_json

_DESCRIPTION = "dataset.json"
_ORDERS = ("targets_by_time", "rows_by_group", "group_lengths")


def write_dataset(folder: Path, dataset: Any, full: Histories) -> None:
    """Write all that RecBole's loading has made.

    Args:
        folder: an existing folder.
        dataset: a RecBole dataset before ``data_preparation``, its interactions by (user, time).
        full: its histories.

    Raises:
        OSError: a file could not be written.
    """
    token_files: dict[int, str] = {}
    for tokens in dataset.field2id_token.values():  # columns of one alias share theirs
        if id(tokens) not in token_files:
            token_files[id(tokens)] = name = f"tokens.{len(token_files)}"
            write_tokens(folder, name, tokens.tolist())
    frames = {"interactions": dataset.inter_feat, "user": dataset.user_feat, "item": dataset.item_feat}
    description = {
        "types": {name: kind.value for name, kind in dataset.field2type.items()},
        "sources": {name: source.value for name, source in dataset.field2source.items()},
        "lengths": dataset.field2seqlen,
        "buckets": dataset.field2bucketnum,
        "alias": {name: list(fields) for name, fields in dataset.alias.items()},
        "rest": list(dataset._rest_fields),
        "tokens": {field: token_files[id(tokens)] for field, tokens in dataset.field2id_token.items()},
        "frames": {
            name: _write_frame(folder, name, frame, dataset) for name, frame in frames.items() if frame is not None
        },
    }
    write_json(folder / _DESCRIPTION, description)
    write_array(folder / "offsets.npy", full.offsets)
    users = dataset.inter_feat[dataset.uid_field].to_numpy()
    write_array(folder / "users.npy", users[full.offsets[:-1]])
    for name, order in zip(_ORDERS, _orders(dataset, users, full), strict=True):
        write_array(folder / f"{name}.npy", order)


def map_dataset(folder: Path, config: Any, kind: Any) -> tuple[Any, Histories]:
    """A dataset of a class of RecBole's, filled with what :func:`write_dataset` has written, and its histories.

    What RecBole's loading leaves is all there; its interactions stand by (user, time), the order into which its
    sequential datasets bring them.

    Args:
        folder: where it lies.
        config: RecBole's configuration.
        kind: the class.
    """
    dataset = kind.__new__(kind)
    dataset._from_scratch = lambda: _fill(dataset, folder)  # in the place of RecBole's, which `__init__` calls
    dataset.__init__(config)
    del dataset._from_scratch
    items, offsets = dataset.inter_feat[dataset.iid_field].to_numpy(), map_array(folder / "offsets.npy")
    tokens = dataset.field2id_token[dataset.uid_field][map_array(folder / "users.npy")].tolist()
    return dataset, Histories(tokens, items, offsets)


class _IdsOfTokens(dict[str, dict[str, int]]):
    """The ids of tokens by column, counted when somebody asks for those of a column."""

    def __init__(self, tokens: dict[str, NDArray[np.object_]]) -> None:
        super().__init__()
        self.tokens = tokens

    def __missing__(self, field: str) -> dict[str, int]:
        self[field] = ids = {token: number for number, token in enumerate(self.tokens[field])}
        return ids


def _fill(dataset: Any, folder: Path) -> None:
    """What RecBole's ``_from_scratch`` leaves."""
    description = read_json(folder / _DESCRIPTION)
    dataset._get_preset()
    dataset._get_field_from_config()
    dataset.field2type = {name: FeatureType(kind) for name, kind in description["types"].items()}
    dataset.field2source = {name: FeatureSource(source) for name, source in description["sources"].items()}
    dataset.field2seqlen, dataset.field2bucketnum = description["lengths"], description["buckets"]
    dataset.alias = {name: np.array(fields) for name, fields in description["alias"].items()}
    dataset._rest_fields = np.array(description["rest"], dtype=str)
    tokens = {name: read_tokens(folder, name) for name in sorted(set(description["tokens"].values()))}
    dataset.field2id_token = {field: tokens[name] for field, name in description["tokens"].items()}
    dataset.field2token_id = _IdsOfTokens(dataset.field2id_token)
    frames = {name: _map_frame(folder, name, columns) for name, columns in description["frames"].items()}
    dataset.inter_feat = frames["interactions"]
    dataset.user_feat, dataset.item_feat = frames.get("user"), frames.get("item")
    dataset.feat_name_list = dataset._build_feat_name_list()
    if hasattr(type(dataset), "known_order"):
        by_time, by_group, lengths = (map_array(folder / f"{name}.npy") for name in _ORDERS)
        dataset.known_order = by_time, Groups(by_group, lengths)


def _orders(dataset: Any, users: NDArray[np.int64], full: Histories) -> Sequence[NDArray[np.int64]]:
    """The places of all interactions but a user's first by the time that RecBole sorts by, and their groups then."""
    is_row = np.ones(len(users), dtype=bool)
    is_row[full.offsets[:-1]] = False
    targets = np.flatnonzero(is_row)
    times = dataset.inter_feat[dataset.time_field].to_numpy()[targets].astype(np.float32)
    by_time = targets[np.argsort(times, kind="stable")]
    groups = Groups.of(users[by_time])
    return by_time, groups.rows, groups.lengths


def _write_frame(folder: Path, name: str, frame: pd.DataFrame, dataset: Any) -> list[list[str]]:
    """Write the columns of a frame; gives the name of each, its file and whether it holds lists."""
    columns = []
    for number, field in enumerate(frame):
        file, values = f"{name}.{number}", frame[field].to_numpy()
        has_lists = dataset.field2type[field] in (FeatureType.TOKEN_SEQ, FeatureType.FLOAT_SEQ)
        if has_lists:
            write_array(folder / f"{file}.lengths.npy", np.array([len(value) for value in values], dtype=np.int64))
            values = np.concatenate(values)
        write_array(folder / f"{file}.npy", values)
        columns.append([field, file, "lists" if has_lists else "numbers"])
    return columns


def _map_frame(folder: Path, name: str, columns: Sequence[Sequence[str]]) -> pd.DataFrame:
    return pd.DataFrame({field: _map_column(folder, file, kind) for field, file, kind in columns}, copy=False)


def _map_column(folder: Path, file: str, kind: str) -> Any:
    values = map_array(folder / f"{file}.npy")
    if kind == "numbers":
        return values
    ends = np.cumsum(map_array(folder / f"{file}.lengths.npy"))
    lists = np.empty(len(ends), dtype=object)
    lists[:] = [values[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]
    return lists
