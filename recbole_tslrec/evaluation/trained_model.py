"""The ranks of a trained model in every history mode."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from recbole_tslrec.compute.distributed import ALONE, Share
from recbole_tslrec.evaluation.held_out import HeldOut
from recbole_tslrec.evaluation.history_modes import Ranks
from recbole_tslrec.sequential.ranking import Seen, ranks_and_seen
from recbole_tslrec.sequential.ranking_units import ranked_in_units


@torch.no_grad()
def rank_held_out(model: Any, rows: HeldOut, show_progress: bool = False, share: Share = ALONE) -> Ranks:
    """The ranks of a model in every history mode, from one forward pass over RecBole's loader.

    Args:
        model: whose ``full_sort_predict`` gives the scores of all items.
        rows: the held-out rows.
        show_progress: whether to show a bar.
        share: the part of this process; all that share must call this, and all are given all ranks.
    """
    model.eval()
    batches = tqdm(rows.loader, desc="Evaluate", disable=not show_progress)

    def rank(interaction: Any, target: Tensor, places: Tensor) -> Tensor:
        seen = seen_items(rows, places.numpy(), target.device)
        return torch.stack(ranks_and_seen(model, interaction, target, seen), dim=1)

    found = ranked_in_units(model, batches, rank, share).view(-1, 2).cpu().numpy()
    return Ranks(found[:, 0].copy(), found[:, 1].copy())


def seen_items(rows: HeldOut, places: NDArray[np.int64], device: torch.device) -> Seen:
    """The items that some rows have had before, without their targets."""
    had = rows.distinct(places)
    other = had.item != rows.target[places][had.row]
    return Seen(*(torch.from_numpy(ids[other]).to(device) for ids in (had.row, had.item)))


@torch.no_grad()
def best_unseen(model: Any, rows: HeldOut, count: int, show_progress: bool = False) -> NDArray[np.int64]:
    """The best items of each row that are not in its history, best first; 0 behind where there are fewer, [R, count].

    Args:
        model: whose ``full_sort_predict`` gives the scores of all items.
        rows: the held-out rows.
        count: how many.
        show_progress: whether to show a bar.
    """
    model.eval()
    device = next(model.parameters()).device
    found, start = [], 0
    for interaction, _, _, target in tqdm(rows.loader, desc="Retrieve", disable=not show_progress):
        had = rows.distinct(slice(start, start + len(target)))
        scores = model.full_sort_predict(interaction.to(device)).view(len(target), -1)
        scores[:, 0] = -torch.inf
        scores[torch.from_numpy(had.row).to(device), torch.from_numpy(had.item).to(device)] = -torch.inf
        best = scores.topk(min(count, scores.shape[1]), dim=1)
        items = torch.where(best.values.isfinite(), best.indices, 0)
        found.append(torch.nn.functional.pad(items, (0, count - items.shape[1])).cpu().numpy())
        start += len(target)
    return np.concatenate(found)
