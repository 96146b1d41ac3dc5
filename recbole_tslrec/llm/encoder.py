"""Eq. 1: from a sequence of items to the LLM's hidden state."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from recbole_tslrec.llm.attention import PrefixRow, default_kernel
from recbole_tslrec.llm.item_text import ItemText
from recbole_tslrec.llm.layout import lay_segments, pad_prompts, weave_texts
from recbole_tslrec.llm.prompt import Prompt
from recbole_tslrec.llm.settings import PADDED

LAST, MEAN = "last", "mean"  # of export_pooling


@dataclass(frozen=True)
class HiddenStates:
    """The LLM's hidden states of all tokens behind d_inst, one prompt's after the other's.

    Attributes:
        tokens: [T, H].
        row: how they are divided into the prompts.
        item_tokens: the words and the vector of each prompt's last item, int64 [B].
        response_length: R tokens behind them.
    """

    tokens: Tensor
    row: PrefixRow
    item_tokens: Tensor
    response_length: int

    @property
    def last(self) -> Tensor:
        """h, the state of the last token of d_res (Eq. 1), [B, H]."""
        return self.tokens[self.row.ends - 1]

    @property
    def mean_of_item(self) -> Tensor:
        """``export_pooling: mean`` (added here): the mean over the last item's words and vector, float32 [B, H]."""
        row, users = self.row, len(self.row.lengths)
        behind = row.lengths[row.segment] - row.local - self.response_length  # [T]; 1 is the item's own place
        of_item = (behind >= 1) & (behind <= self.item_tokens[row.segment])
        total = self.tokens.new_zeros(users, self.tokens.shape[1], dtype=torch.float32)
        total = total.index_add(0, row.segment[of_item], self.tokens[of_item].float())
        return total / self.item_tokens.unsqueeze(1)


class PromptEncoder(nn.Module):
    """h^u = LLM(p_inst; linear_proj([e_v1 .. e_vn]); p_res), read at the last token of d_res (Eq. 1).

    The projection starts with the scale of the LLM's own token embeddings (our choice), so that an item is to the LLM
    as loud as a word.

    Args:
        llm: a decoder without head that gives ``last_hidden_state`` after its final norm.
        prompt: the text parts.
        embedding_size: d of the stage-0 rows.
        item_norm: the root-mean-square norm of a stage-0 row.

    Attributes:
        layout: how prompts lie in memory; :func:`recbole_tslrec.llm.layout.choose_layout` sets it.
        kernel: the kernel of the attention over a prefix row.
        pooling: what an export reads; see ``export_pooling``.
        takes_vectors: whether an item's place holds its vector, or what all items have; see ``prompt_item_vector``.
    """

    instruction: Tensor
    response: Tensor

    def __init__(self, llm: nn.Module, prompt: Prompt, embedding_size: int, item_norm: float) -> None:
        super().__init__()
        self.llm = llm
        self.layout = PADDED
        self.pooling = LAST
        self.takes_vectors = True
        self.register_buffer("instruction", prompt.instruction, persistent=False)
        self.register_buffer("response", prompt.response, persistent=False)
        words = self.token_embedding.weight
        self.kernel = default_kernel(words.device)
        self.linear_proj = nn.Linear(embedding_size, words.shape[1])
        nn.init.normal_(self.linear_proj.weight, std=float(words.detach().float().std()) / max(item_norm, 1e-12))
        nn.init.zeros_(self.linear_proj.bias)
        self._prefix_states: dict[nn.Module, tuple[Tensor, Tensor]] = {}

    @property
    def token_embedding(self) -> nn.Embedding:
        """The LLM's embedding of its own tokens."""
        embedding: Any = self.llm.get_input_embeddings()  # type: ignore[operator]
        return embedding  # type: ignore[no-any-return]

    @property
    def hidden_size(self) -> int:
        """H, the width of a hidden state."""
        return self.linear_proj.out_features

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
        instruction = self.token_embedding(self.instruction)  # [P, H]
        response = self.token_embedding(self.response)  # [R, H]
        # without vectors the bias is left; under autocast the projection comes in half precision, the embeddings do not
        rows = items if self.takes_vectors else torch.zeros_like(items)
        projected = self.linear_proj(rows).to(instruction.dtype)  # [sum of item_count, H]
        if item_text is None:
            embedded, lengths, item_tokens = projected, item_count, torch.ones_like(item_count)
        else:
            words = self.token_embedding(item_text.tokens)  # [W, H]
            embedded = weave_texts(projected, words, item_text.counts)  # [sum of item_count + W, H]
            lengths = item_count + item_text.tokens_of(item_count)
            item_tokens = 1 + item_text.counts[item_count.cumsum(0) - 1]
        segments = lay_segments(embedded, lengths, response)  # [T, H]
        lengths = lengths + len(response)
        row = PrefixRow(len(instruction), lengths, int(lengths.max()), self.kernel, self._prefix_states)
        read = self._read_padded if self.layout == PADDED else self._read_row
        return HiddenStates(read(instruction, segments, row), row, item_tokens, len(response))

    def checkpoint_activations(self) -> None:
        """For training in little memory: compute each layer's activations a second time rather than keep them."""
        llm: Any = self.llm
        llm.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})

    @torch.no_grad()
    def compute_prefix_once(self) -> None:
        """For inference: keep the states of d_inst, so that later rows do without it. Does nothing when ``padded``."""
        if self.layout == PADDED:
            return
        instruction = self.token_embedding(self.instruction)
        row = PrefixRow(len(instruction), self.instruction.new_zeros(0), 0, self.kernel, keep_prefix=True)
        self._run(instruction, torch.arange(len(instruction), device=instruction.device), row)
        self._prefix_states = row.prefix_states

    def _read_row(self, instruction: Tensor, segments: Tensor, row: PrefixRow) -> Tensor:
        positions = len(instruction) + row.local  # of a prompt of its own
        if self._prefix_states:
            row.prefix_length = 0
        else:
            segments = torch.cat([instruction, segments])
            positions = torch.cat([torch.arange(len(instruction), device=positions.device), positions])
        return self._run(segments, positions, row)[row.prefix_length :]

    def _run(self, embeddings: Tensor, positions: Tensor, row: PrefixRow) -> Tensor:
        """A row of embeddings [T, H] through the decoder, [T, H]."""
        # with a cache transformers would take the row for one sequence
        output = self.llm(
            inputs_embeds=embeddings.unsqueeze(0), position_ids=positions.unsqueeze(0), use_cache=False, prefix_row=row
        )
        hidden: Tensor = output.last_hidden_state[0]
        return hidden

    def _read_padded(self, instruction: Tensor, segments: Tensor, row: PrefixRow) -> Tensor:
        batch = pad_prompts(instruction, segments, row)
        hidden: Tensor = self.llm(
            inputs_embeds=batch.embeddings, attention_mask=batch.attention_mask, use_cache=False
        ).last_hidden_state  # [B, P + S, H]
        return hidden[:, len(instruction) :].flatten(0, 1)[row.padded_place]
