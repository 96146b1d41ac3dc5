"""How a batch of prompts lies in memory: ``padded``, one row per user, pads behind."""

from typing import NamedTuple

import torch
from torch import Tensor


class PaddedBatch(NamedTuple):
    """One prompt a row.

    Attributes:
        embeddings: the LLM's input, [B, P + L + R, H].
        attention_mask: 1 for tokens and 0 for pads, int64 [B, P + L + R].
        last: the position of the last token of d_res, int64 [B].
    """

    embeddings: Tensor
    attention_mask: Tensor
    last: Tensor


def pad_prompts(instruction: Tensor, items: Tensor, item_count: Tensor, response: Tensor) -> PaddedBatch:
    """Lay out [d_inst | items | d_res | pads] for every user.

    Args:
        instruction: embedded d_inst, [P, H].
        items: projected items, [B, L, H]; row u holds ``item_count[u]`` of them, then anything.
        item_count: int64 [B].
        response: embedded d_res, [R, H].
    """
    batch, _, hidden_size = items.shape
    response_length = response.shape[0]
    rows = torch.arange(batch, device=items.device).unsqueeze(1)  # [B, 1]
    columns = item_count.unsqueeze(1) + torch.arange(response_length, device=items.device)  # [B, R]
    suffix = torch.cat([items, items.new_zeros(batch, response_length, hidden_size)], dim=1)  # [B, L + R, H]
    suffix = suffix.index_put((rows, columns), response.expand(batch, -1, -1))
    embeddings = torch.cat([instruction.expand(batch, -1, -1), suffix], dim=1)
    last = instruction.shape[0] + item_count + response_length - 1  # [B]
    position = torch.arange(embeddings.shape[1], device=items.device)
    return PaddedBatch(embeddings, (position <= last.unsqueeze(1)).long(), last)
