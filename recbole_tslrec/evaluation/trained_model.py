"""The ranks of a trained model in every history mode."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from recbole_tslrec.evaluation.held_out import HeldOut
from recbole_tslrec.evaluation.history_modes import Ranks
from recbole_tslrec.sequential.ranking import Seen, ranks_and_seen


@torch.no_grad()
def rank_held_out(model: Any, rows: HeldOut, show_progress: bool = False) -> Ranks:
    """The ranks of a model in every history mode, from one forward pass over RecBole's loader.

    Args:
        model: whose ``full_sort_predict`` gives the scores of all items.
        rows: the held-out rows.
        show_progress: whether to show a bar.
    """
    model.eval()
    device = next(model.parameters()).device
    found, start = [], 0
    for interaction, _, _, target in tqdm(rows.loader, desc="Evaluate", disable=not show_progress):
        seen = seen_items(rows, slice(start, start + len(target)), device)
        ranks = ranks_and_seen(model, interaction.to(device), target.to(device), seen)
        found.append(Ranks(*(part.cpu().numpy() for part in ranks)))
        start += len(target)
    return Ranks.joined(found)


def seen_items(rows: HeldOut, part: slice, device: torch.device) -> Seen:
    """The items that some rows have had before, without their targets."""
    had = rows.distinct(part)
    other = had.item != rows.target[part][had.row]
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
