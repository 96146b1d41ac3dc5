"""Eq. 1: from a sequence of items to the LLM's hidden state."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from recbole_tslrec.llm.item_text import ItemText
from recbole_tslrec.llm.layout import lay_segments, weave_texts
from recbole_tslrec.llm.prompt import Prompt
from recbole_tslrec.llm.segment_encoder import SegmentEncoder, SegmentStates

LAST, MEAN = "last", "mean"  # of export_pooling


@dataclass(frozen=True)
class HiddenStates(SegmentStates):
    """Those of prompts of items; the last one is h, of the last token of d_res (Eq. 1).

    Attributes:
        item_tokens: the words and the vector of each prompt's last item, int64 [B].
        response_length: R tokens behind them.
    """

    item_tokens: Tensor
    response_length: int

    @property
    def mean_of_item(self) -> Tensor:
        """``export_pooling: mean`` (added here): the mean over the last item's words and vector, float32 [B, H]."""
        row, users = self.row, len(self.row.lengths)
        behind = row.lengths[row.segment] - row.local - self.response_length  # [T]; 1 is the item's own place
        of_item = (behind >= 1) & (behind <= self.item_tokens[row.segment])
        total = self.tokens.new_zeros(users, self.tokens.shape[1], dtype=torch.float32)
        total = total.index_add(0, row.segment[of_item], self.tokens[of_item].float())
        return total / self.item_tokens.unsqueeze(1)


class PromptEncoder(SegmentEncoder):
    """h^u = LLM(p_inst; linear_proj([e_v1 .. e_vn]); p_res), read at the last token of d_res (Eq. 1).

    The projection starts with the scale of the LLM's own token embeddings (our choice), so that an item is to the LLM
    as loud as a word.

    Args:
        llm: a decoder without head that gives ``last_hidden_state`` after its final norm.
        prompt: the text parts.
        embedding_size: d of the stage-0 rows.
        item_norm: the root-mean-square norm of a stage-0 row.

    Attributes:
        pooling: what an export reads; see ``export_pooling``.
        takes_vectors: whether an item's place holds its vector, or what all items have; see ``prompt_item_vector``.
    """

    response: Tensor

    def __init__(self, llm: nn.Module, prompt: Prompt, embedding_size: int, item_norm: float) -> None:
        super().__init__(llm, prompt.instruction)
        self.pooling = LAST
        self.takes_vectors = True
        self.register_buffer("response", prompt.response, persistent=False)
        self.linear_proj = nn.Linear(embedding_size, self.token_embedding.weight.shape[1])
        nn.init.normal_(self.linear_proj.weight, std=self.word_scale / max(item_norm, 1e-12))
        nn.init.zeros_(self.linear_proj.bias)

    def forward(self, items: Tensor, item_count: Tensor, item_text: ItemText | None = None) -> Tensor:
        """The hidden states of a micro-batch of users.

        Args:
            items: stage-0 rows of the users' items, one user after the other, [sum of item_count, d].
            item_count: items of each user, int64 [B].
            item_text: the words of the same items, to stand before them.

        Returns:
            h^u in float32 or better, [B, H].
        """
        hidden = self.hidden_states(items, item_count, item_text).last
        return hidden if hidden.dtype == torch.float64 else hidden.float()

    def hidden_states(self, items: Tensor, item_count: Tensor, item_text: ItemText | None = None) -> HiddenStates:
        """The hidden states of every token behind d_inst, in the LLM's type; for the arguments see :meth:`forward`."""
        response = self.token_embedding(self.response)  # [R, H]
        # without vectors the bias is left; under autocast the projection comes in half precision, the embeddings do not
        rows = items if self.takes_vectors else torch.zeros_like(items)
        projected = self.linear_proj(rows).to(response.dtype)  # [sum of item_count, H]
        if item_text is None:
            embedded, lengths, item_tokens = projected, item_count, torch.ones_like(item_count)
        else:
            words = self.token_embedding(item_text.tokens)  # [W, H]
            embedded = weave_texts(projected, words, item_text.counts)  # [sum of item_count + W, H]
            lengths = item_count + item_text.tokens_of(item_count)
            item_tokens = 1 + item_text.counts[item_count.cumsum(0) - 1]
        segments = lay_segments(embedded, lengths, response)  # [T, H]
        found = self.states(segments, lengths + len(response))
        return HiddenStates(found.tokens, found.row, item_tokens, len(response))
