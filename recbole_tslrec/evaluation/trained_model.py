"""The ranks of a trained model in every history mode."""

from typing import Any

import torch
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
