"""Rows of a dataset as the LLM baselines take them."""

import numpy as np
from numpy.typing import NDArray

from recbole_tslrec.baselines.next_items import NextItems
from recbole_tslrec.data.dataset import Data
from recbole_tslrec.evaluation.held_out import PARTS, HeldOut
from recbole_tslrec.pipeline.stage import Inputs


def next_items(rows: HeldOut) -> NextItems:
    """Held-out items and the histories before them."""
    return NextItems(rows.items, rows.start, rows.start + rows.length, rows.target)


def users_of(data: Data, rows: HeldOut) -> NDArray[np.int64]:
    """The place of each row's user among all users, int64 [R]."""
    place = {token: user for user, token in enumerate(data.full.user_tokens)}
    return np.array([place[token] for token in rows.user_tokens], dtype=np.int64)


def part_of(inputs: Inputs, rows: HeldOut) -> str:
    """Which part of the dataset some rows are."""
    return PARTS[0] if rows.loader is inputs.data.loaders[1] else PARTS[1]
