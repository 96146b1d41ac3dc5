"""The same prompts as they are usually put through an LLM: the rivals of the prefix row.

All give the hidden state at the end of each prompt; they differ in what they compute on the way.
"""

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from recbole_tslrec.llm.encoder import PromptEncoder
from recbole_tslrec.llm.item_text import ItemText


class PaddedCausalLM(PromptEncoder):
    """``ForCausalLM`` over prompts padded behind: logits of the whole vocabulary at every position come along."""

    def forward(self, items: Tensor, item_count: Tensor, item_text: ItemText | None = None) -> Tensor:
        """As :meth:`PromptEncoder.forward`, without text of items."""
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

    def forward(self, items: Tensor, item_count: Tensor, item_text: ItemText | None = None) -> Tensor:
        """As :meth:`PromptEncoder.forward`, for users with one item each and without text of items."""
        users = len(items)
        instruction, response = self.token_embedding(self.instruction), self.token_embedding(self.response)
        own = self.linear_proj(items).to(instruction.dtype).unsqueeze(1)
        embeddings = torch.cat([instruction.expand(users, -1, -1), own, response.expand(users, -1, -1)], dim=1)
        hidden: Tensor = self.llm(inputs_embeds=embeddings, use_cache=False).last_hidden_state[:, -1]
        return hidden.float()
