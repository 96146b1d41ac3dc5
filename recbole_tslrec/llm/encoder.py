"""Eq. 1: from a sequence of items to the LLM's hidden state."""

from typing import Any

import torch
from torch import Tensor, nn

from recbole_tslrec.llm.layout import pad_prompts
from recbole_tslrec.llm.prompt import Prompt


class PromptEncoder(nn.Module):
    """h^u = LLM(p_inst; linear_proj([e_v1 .. e_vn]); p_res), read at the last token of d_res (Eq. 1).

    The projection starts with the scale of the LLM's own token embeddings (our choice), so that an item is to the LLM
    as loud as a word.

    Args:
        llm: a decoder without head that gives ``last_hidden_state`` after its final norm.
        prompt: the text parts.
        item_embeddings: the frozen stage-0 rows, [N + 1, d]; row 0 is the pad.
    """

    instruction: Tensor
    response: Tensor
    item_embeddings: Tensor

    def __init__(self, llm: nn.Module, prompt: Prompt, item_embeddings: Tensor) -> None:
        super().__init__()
        self.llm = llm
        self.register_buffer("instruction", prompt.instruction, persistent=False)
        self.register_buffer("response", prompt.response, persistent=False)
        self.register_buffer("item_embeddings", item_embeddings, persistent=False)
        words = self.token_embedding.weight
        self.linear_proj = nn.Linear(item_embeddings.shape[1], words.shape[1])
        norm = item_embeddings[1:].square().sum(dim=1).mean().sqrt()  # root-mean-square norm of an item
        std = float(words.detach().float().std() / norm.clamp_min(1e-12))
        nn.init.normal_(self.linear_proj.weight, std=std)
        nn.init.zeros_(self.linear_proj.bias)

    @property
    def token_embedding(self) -> nn.Embedding:
        """The LLM's embedding of its own tokens."""
        embedding: Any = self.llm.get_input_embeddings()  # type: ignore[operator]
        return embedding  # type: ignore[no-any-return]

    @property
    def hidden_size(self) -> int:
        """H, the width of a hidden state."""
        return self.linear_proj.out_features

    def forward(self, item_seq: Tensor, item_seq_len: Tensor) -> Tensor:
        """Item ids [B, L], pads behind, and their number [B] -> h^u in float32 or better, [B, H]."""
        instruction = self.token_embedding(self.instruction)  # [P, H]
        response = self.token_embedding(self.response)  # [R, H]
        items = self.linear_proj(self.item_embeddings[item_seq]).to(instruction.dtype)  # [B, L, H]
        batch = pad_prompts(instruction, items, item_seq_len, response)
        hidden: Tensor = self.llm(
            inputs_embeds=batch.embeddings, attention_mask=batch.attention_mask, use_cache=False
        ).last_hidden_state  # [B, P + L + R, H]
        read = hidden[torch.arange(len(hidden), device=hidden.device), batch.last]
        return read if read.dtype == torch.float64 else read.float()
