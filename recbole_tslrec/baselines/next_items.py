"""Items to predict, each with the history before it."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recbole_tslrec.data.histories import Histories


class NextItems(NamedTuple):
    """Held-out items and the histories before them.

    Attributes:
        items: in which the histories lie, item ids, int64 [S].
        starts: the history of row r is ``items[starts[r]:ends[r]]``, int64 [R].
        ends: see there, int64 [R].
        target: item ids, int64 [R].
    """

    items: NDArray[np.int64]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    target: NDArray[np.int64]


@dataclass(frozen=True)
class Instances:
    """Items to predict, with the user and the history before each.

    Attributes:
        user: the number of the user, int64 [I].
        rows: histories and targets, I rows.
    """

    user: NDArray[np.int64]
    rows: NextItems

    def __len__(self) -> int:
        return len(self.user)

    def recent(self, most: int) -> "Instances":
        """The same with at most ``most`` items in a history."""
        rows = self.rows
        return Instances(self.user, rows._replace(starts=np.maximum(rows.starts, rows.ends - most)))


def training_instances(histories: Histories, max_items: int) -> Instances:
    """Each training interaction but a user's first, with at most ``max_items`` before it."""
    user = np.repeat(np.arange(len(histories)), histories.lengths)
    ends = np.flatnonzero(np.arange(len(user)) > histories.offsets[user])
    starts = np.maximum(histories.offsets[user[ends]], ends - max_items)
    return Instances(user[ends], NextItems(histories.items, starts, ends, histories.items[ends]))


def most_recent(item_seq: Tensor, length: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """The most recent items of each row.

    Args:
        item_seq: item ids, pads behind, int64 [B, L].
        length: items of each row, int64 [B].
        most: items to keep, at most.

    Returns:
        Item ids with anything behind, [B, min(most, L)], and their number, [B].
    """
    shown = length.clamp(max=most)
    place = torch.arange(min(most, item_seq.shape[1]), device=length.device) + (length - shown).unsqueeze(1)
    return item_seq.gather(1, place.clamp(max=item_seq.shape[1] - 1)), shown


def history_fields(config: Any) -> tuple[str, str]:
    """RecBole's names of a row's item ids and of their number."""
    return config["ITEM_ID_FIELD"] + config["LIST_SUFFIX"], config["ITEM_LIST_LENGTH_FIELD"]
