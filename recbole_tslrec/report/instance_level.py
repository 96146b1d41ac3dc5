"""E4SRec on our encoder: one prompt an interaction, whose hidden state scores all items."""

from typing import Any

import torch
from peft import PeftModel
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pad_sequence

from recbole_tslrec.llm.encoder import PromptEncoder
from recbole_tslrec.llm.item_text import ItemText
from recbole_tslrec.reconstruction.network import ITEM_SEQ, ITEM_SEQ_LEN, PREFERENCE_TARGET, ReconstructionNetwork


class InstanceNetwork(ReconstructionNetwork):
    """E4SRec's: the same encoder, but scores of all items where TSLRec predicts a distribution over the groups."""

    def __init__(self, encoder: PromptEncoder, item_count: int, item_embeddings: Tensor) -> None:
        super().__init__(encoder, item_count, item_embeddings)
        self.head = nn.Linear(encoder.hidden_size, item_count, bias=False)

    def scores(self, hidden: Tensor) -> Tensor:
        """Scores of all items, [B, N], under autocast in half precision: of so many, full precision would cost time."""
        scores: Tensor = self.head(hidden)
        return scores


class MiddlePadded(PromptEncoder):
    """E4SRec's layout as published: ``[d_inst | pads | items | d_res]``.

    The positions are not corrected for the pads there, so its hidden states depend on the batch.
    """

    def forward(self, items: Tensor, item_count: Tensor, item_text: ItemText | None = None) -> Tensor:
        """As :meth:`PromptEncoder.forward`, without text of items."""
        instruction, response = self.token_embedding(self.instruction), self.token_embedding(self.response)
        projected = self.linear_proj(items).to(instruction.dtype).split(item_count.tolist())
        own = pad_sequence(projected, batch_first=True, padding_side="left")  # [B, L, H]
        users, longest = own.shape[:2]
        parts = [instruction.expand(users, -1, -1), own, response.expand(users, -1, -1)]
        is_item = torch.arange(longest, device=items.device) >= longest - item_count.unsqueeze(1)
        mask = torch.cat(
            [is_item.new_ones(users, len(instruction)), is_item, is_item.new_ones(users, len(response))], 1
        )
        output = self.llm(inputs_embeds=torch.cat(parts, dim=1), attention_mask=mask.long(), use_cache=False)
        hidden: Tensor = output.last_hidden_state[:, -1]
        return hidden.float()


def instance_errors(network: ReconstructionNetwork, interaction: Any) -> Tensor:
    """Cross entropy of the next item over all items, [B]."""
    _, scores = network(interaction[ITEM_SEQ], interaction[ITEM_SEQ_LEN])  # [B, N]
    return cross_entropy(scores, interaction[PREFERENCE_TARGET][:, 0], reduction="none")


def merge_adapters(network: ReconstructionNetwork) -> ReconstructionNetwork:
    """Make the LoRA adapters part of the LLM's weights; the layout stays."""
    encoder = network.encoder
    if isinstance(encoder.llm, PeftModel):
        encoder.llm = encoder.llm.merge_and_unload()
    return network
