"""The same prompts as they are usually put through an LLM: the rivals of the prefix row.

All give the hidden state at the end of each prompt; they differ in what they compute on the way.
"""

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from recbole_tslrec.llm.encoder import PromptEncoder
from recbole_tslrec.reconstruction.network import ReconstructionNetwork


class PaddedCausalLM(PromptEncoder):
    """``ForCausalLM`` over prompts padded behind: logits of the whole vocabulary at every position come along."""

    def forward(self, items: Tensor, item_count: Tensor) -> Tensor:
        """As :meth:`PromptEncoder.forward`."""
        embeddings, lengths = self._padded_prompts(items, item_count)
        mask = (torch.arange(embeddings.shape[1], device=items.device) < lengths.unsqueeze(1)).long()
        output = self.llm(inputs_embeds=embeddings, attention_mask=mask, use_cache=False, output_hidden_states=True)
        hidden: Tensor = output.hidden_states[-1][torch.arange(len(lengths), device=items.device), lengths - 1]
        return hidden.float()

    def _padded_prompts(self, items: Tensor, item_count: Tensor) -> tuple[Tensor, Tensor]:
        """``[d_inst | items | d_res | pads]`` of every user, [B, T, H], and their lengths."""
        instruction, response = self.token_embedding(self.instruction), self.token_embedding(self.response)
        projected = self.linear_proj(items).to(instruction.dtype).split(item_count.tolist())
        prompts = [torch.cat([instruction, own, response]) for own in projected]
        return pad_sequence(prompts, batch_first=True), item_count + len(instruction) + len(response)


class PaddedOneItem(PromptEncoder):
    """One-item prompts are all of one length: a loop over batches of them needs no pads and no mask."""

    def forward(self, items: Tensor, item_count: Tensor) -> Tensor:
        """As :meth:`PromptEncoder.forward`, for users with one item each."""
        users = len(items)
        instruction, response = self.token_embedding(self.instruction), self.token_embedding(self.response)
        own = self.linear_proj(items).to(instruction.dtype).unsqueeze(1)
        embeddings = torch.cat([instruction.expand(users, -1, -1), own, response.expand(users, -1, -1)], dim=1)
        hidden: Tensor = self.llm(inputs_embeds=embeddings, use_cache=False).last_hidden_state[:, -1]
        return hidden.float()


class MiddlePadded(PromptEncoder):
    """E4SRec's layout as published: ``[d_inst | pads | items | d_res]``.

    The positions are not corrected for the pads there, so its hidden states depend on the batch.
    """

    def forward(self, items: Tensor, item_count: Tensor) -> Tensor:
        """As :meth:`PromptEncoder.forward`."""
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


class InstanceNetwork(ReconstructionNetwork):
    """E4SRec's: the same encoder, but scores of all items where TSLRec predicts a distribution over the groups."""

    def __init__(self, encoder: PromptEncoder, item_count: int, item_embeddings: Tensor) -> None:
        super().__init__(encoder, item_count, item_embeddings)
        self.head = nn.Linear(encoder.hidden_size, item_count, bias=False)

    def scores(self, hidden: Tensor) -> Tensor:
        """Of all items, [B, N]."""
        scores: Tensor = self.head(hidden)
        return scores
