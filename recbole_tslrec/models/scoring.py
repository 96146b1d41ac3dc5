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

Batch = Mapping[str, Tensor]  # item_seq [B, L], item_seq_len [B] and user [B] by the model's names for these fields


def item_rows(model: Any) -> Tensor:
    """The item table of most models, [N + 1, d]."""
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
    table: Callable[[Any], Tensor] = item_rows
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


PRODUCT = Scoring(table=lambda m: m.output_table)  # forward(item_seq, item_seq_len) @ output_table.T
BERT4REC_SCORES = Scoring(encode=_bert4rec, table=lambda m: item_rows(m)[: m.n_items], bias=lambda m: m.output_bias)
CASER_SCORES = Scoring(("USER_ID", "ITEM_SEQ"))
CORE_SCORES = Scoring(("ITEM_SEQ",), table=lambda m: normalize(item_rows(m), dim=-1) / m.temperature)
FOSSIL_SCORES = Scoring(("ITEM_SEQ", "ITEM_SEQ_LEN", "USER_ID"))
FPMC_SCORES = Scoring(encode=_fpmc, table=lambda m: torch.cat([m.IU_emb.weight, m.IL_emb.weight], dim=1))
HGN_SCORES = Scoring(("ITEM_SEQ", "USER_ID"), table=lambda m: m.item_embedding_for_prediction.weight)
HRM_SCORES = Scoring(("ITEM_SEQ", "USER_ID", "ITEM_SEQ_LEN"))
NEXTITNET_SCORES = Scoring(("ITEM_SEQ",))
NPE_SCORES = Scoring(("ITEM_SEQ", "USER_ID"), table=lambda m: item_rows(m).relu())
S3REC_SCORES = Scoring(encode=_s3rec, table=lambda m: item_rows(m)[: m.n_items - 1])
SHAN_SCORES = Scoring(("INVERSE_ITEM_SEQ", "USER_ID"))
