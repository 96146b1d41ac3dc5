"""How a model scores: the vector of a sequence times a table of items, plus a bias of the item where there is one.

RecBole's models compute this inside ``full_sort_predict``. Here the two factors stand apart, so that the table can be
exported.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from recbole_tslrec.model.backbones import BACKBONES, backbone_name

Batch = Mapping[str, Tensor]  # item_seq [B, L], item_seq_len [B] and user [B] by the model's names for these fields


class ExportError(ValueError):
    """A model cannot be exported in this format, or what was written does not score as the model does."""


def _items(model: Any) -> Tensor:
    table: Tensor = model.item_embedding.weight
    return table


@dataclass(frozen=True)
class Scoring:
    """``scores = vector @ table(model).T + bias(model)``, as ``full_sort_predict`` computes them.

    Attributes:
        inputs: what ``forward`` takes in its order, by the attributes that name the fields.
        encode: gives the vectors [B, d] instead of ``forward``, where that gives something else.
        table: [N + 1, d]; row 0 is the pad.
        bias: [N + 1].
    """

    inputs: tuple[str, ...] = ("ITEM_SEQ", "ITEM_SEQ_LEN")
    encode: Callable[[Any, Batch], Tensor] | None = None
    table: Callable[[Any], Tensor] = _items
    bias: Callable[[Any], Tensor] | None = None

    def vectors(self, model: Any, batch: Batch) -> Tensor:
        """The vectors of a batch of sequences, [B, d]."""
        if self.encode:
            return self.encode(model, batch)
        vectors: Tensor = model.forward(*(batch[getattr(model, field)] for field in self.inputs))
        return vectors


def _bert4rec(model: Any, batch: Batch) -> Tensor:
    # the oldest position makes room for the mask behind the last item, as reconstruct_test_data does row by row
    item_seq, last = batch[model.ITEM_SEQ], batch[model.ITEM_SEQ_LEN] - 1
    item_seq = torch.cat([item_seq[:, 1:], torch.zeros_like(item_seq[:, :1])], dim=1)
    item_seq = item_seq.scatter(1, last.unsqueeze(1), model.mask_token)
    vectors: Tensor = model.gather_indexes(model.forward(item_seq), last)
    return vectors


def _s3rec(model: Any, batch: Batch) -> Tensor:
    hidden = model.forward(batch[model.ITEM_SEQ], bidirectional=False)  # [B, L, d]
    vectors: Tensor = model.gather_indexes(hidden, batch[model.ITEM_SEQ_LEN] - 1)
    return vectors


def _fpmc(model: Any, batch: Batch) -> Tensor:
    last = batch[model.ITEM_SEQ].gather(1, batch[model.ITEM_SEQ_LEN].unsqueeze(1) - 1).squeeze(1)  # [B]
    return torch.cat([model.UI_emb(batch[model.USER_ID]), model.LI_emb(last)], dim=1)  # [B, 2 d]


SCORINGS: dict[str, Scoring] = {
    **{name: Scoring() for name, backbone in BACKBONES.items() if backbone.dot},
    "BERT4Rec": Scoring(encode=_bert4rec, table=lambda m: _items(m)[: m.n_items], bias=lambda m: m.output_bias),
    "Caser": Scoring(("USER_ID", "ITEM_SEQ")),
    "CORE": Scoring(("ITEM_SEQ",), table=lambda m: normalize(_items(m), dim=-1) / m.temperature),
    "FOSSIL": Scoring(("ITEM_SEQ", "ITEM_SEQ_LEN", "USER_ID")),
    "FPMC": Scoring(encode=_fpmc, table=lambda m: torch.cat([m.IU_emb.weight, m.IL_emb.weight], dim=1)),
    "HGN": Scoring(("ITEM_SEQ", "USER_ID"), table=lambda m: m.item_embedding_for_prediction.weight),
    "HRM": Scoring(("ITEM_SEQ", "USER_ID", "ITEM_SEQ_LEN")),
    "NextItNet": Scoring(("ITEM_SEQ",)),
    "NPE": Scoring(("ITEM_SEQ", "USER_ID"), table=lambda m: _items(m).relu()),
    "S3Rec": Scoring(encode=_s3rec, table=lambda m: _items(m)[: m.n_items - 1]),
    "SHAN": Scoring(("INVERSE_ITEM_SEQ", "USER_ID")),
}


def scoring_of(model: torch.nn.Module) -> Scoring:
    """How a model scores.

    Raises:
        ExportError: its scores are no product of a sequence's vector with an item table.
    """
    backbone = backbone_name(type(model))
    if backbone not in SCORINGS:
        raise ExportError(
            f"{type(model).__name__} does not score by the product of a sequence's vector with an item table, so that "
            "there is no table to export; export a model that does, such as SASRec"
        )
    return SCORINGS[backbone]


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
