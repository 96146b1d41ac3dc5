"""Comparison of a model's scores with those of its factors, the sequence's vector and the item table."""

from typing import Any

import torch
from torch import Tensor

from recbole_tslrec.models.backbones import backbone_of
from recbole_tslrec.models.scoring import Scoring


class ExportError(ValueError):
    """A model cannot be exported in this format, or what was written does not score as the model does."""


def scoring_of(model: torch.nn.Module) -> Scoring:
    """How a model scores.

    Raises:
        ExportError: its scores are no product of a sequence's vector with an item table.
    """
    scoring = backbone_of(type(model)).scoring
    if scoring is None:
        raise ExportError(
            f"{type(model).__name__} does not score by the product of a sequence's vector with an item table, so that "
            "there is no table to export; export a model that does, such as SASRec"
        )
    return scoring


def random_histories(model: Any, max_length: int, count: int) -> dict[str, Tensor]:
    """Histories to compare scores on, by the model's names for the fields; the same at every call.

    Args:
        model: says how many items there are.
        max_length: L.
        count: B; the first history has one item and the second, if any, has L.
    """
    generator = torch.Generator().manual_seed(count)
    length = torch.randint(1, max_length + 1, (count,), generator=generator)  # [B]
    length[:2] = torch.tensor([1, max_length])[:count]
    item_seq = torch.randint(1, len(scoring_of(model).table(model)), (count, max_length), generator=generator)
    item_seq[torch.arange(max_length) >= length.unsqueeze(1)] = 0
    user = torch.ones_like(length)  # every dataset has a user 1
    batch = {model.ITEM_SEQ: item_seq, model.ITEM_SEQ_LEN: length, model.USER_ID: user}
    if hasattr(model, "INVERSE_ITEM_SEQ"):
        batch[model.INVERSE_ITEM_SEQ] = item_seq.flip(1)
    return batch


def relative_difference(scores: Tensor, expected: Tensor) -> float:
    """The largest difference, divided by the largest score; NaN where a score is NaN."""
    scale = expected.abs().max().clamp_min(torch.finfo(expected.dtype).tiny)
    return float((scores - expected).abs().max() / scale)
