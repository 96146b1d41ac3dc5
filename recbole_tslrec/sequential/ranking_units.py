"""The rows of a loader ranked in units of a fixed make-up, which several processes share.

A score's last bits depend on the shape of the product that it comes from. So a unit has the same rows, and goes through
the model in the same way, whoever ranks it: the ranks of several processes are those of one.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from recbole_tslrec.compute import distributed
from recbole_tslrec.compute.distributed import ALONE, Share

_ROWS = {"cpu": 256}  # of a unit; a GPU would wait for so few
_ROWS_ELSEWHERE = 1024

Rank = Callable[[Any, Tensor, Tensor], Tensor]


def ranked_in_units(model: Any, batches: Iterable[Any], rank: Rank, share: Share = ALONE) -> Tensor:
    """What ``rank`` gives for every row of RecBole's full-ranking loader, in the order of its rows.

    Args:
        model: in evaluation mode.
        batches: the loader.
        rank: of rows and their targets, int64 [n], both on the model's device, and the numbers of the rows in the
            loader, int64 [n] on the CPU; gives integers, int64 [n, ...].
        share: the part of this process; all that share must call this, and all are given all rows.

    Returns:
        int64 [R, ...] on the model's device.
    """
    device = next(model.parameters()).device
    rows, found, units, start = [], [], 0, 0
    for interaction, _, _, target in batches:
        for unit in _units(model, interaction, device):
            if share.has(units):
                rows.append(start + unit)
                found.append(rank(interaction[unit].to(device), target[unit].to(device), rows[-1]))
            units += 1
        start += len(target)
    return _placed(rows, found, start, device, share)


def _units(model: Any, interaction: Any, device: torch.device) -> tuple[Tensor, ...]:
    """The rows of each unit of a batch; where histories can be cut to the longest, those of like length together."""
    order = torch.arange(len(interaction))
    if getattr(model, "is_causal", False) and getattr(model, "scores_are_products", False):
        order = interaction[model.ITEM_SEQ_LEN].argsort(stable=True)
    return torch.split(order, _ROWS.get(device.type, _ROWS_ELSEWHERE))


def _placed(rows: list[Tensor], found: list[Tensor], count: int, device: torch.device, share: Share) -> Tensor:
    """The results of all processes at the places of their rows."""
    own = torch.cat(found) if found else None
    if share.of > 1:  # a process without a row has to know how wide the others' are
        widths = distributed.gather(None if own is None else own.shape[1:])
        width = next((each for each in widths if each is not None), ())
    else:
        width = () if own is None else own.shape[1:]
    placed = torch.zeros(count, *width, dtype=torch.int64, device=device)
    if own is not None:
        placed[torch.cat(rows).to(device)] = own
    return distributed.summed(placed) if share.of > 1 else placed
