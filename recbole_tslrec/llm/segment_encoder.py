"""Prompts with a common beginning through a decoder, in the layout that it can take."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from recbole_tslrec.llm.adapters import base_model
from recbole_tslrec.llm.attention import PrefixRow, default_kernel
from recbole_tslrec.llm.layout import pad_prompts
from recbole_tslrec.llm.settings import PADDED


@dataclass(frozen=True)
class SegmentStates:
    """The LLM's hidden states of all tokens behind the instruction, one prompt's after the other's.

    Attributes:
        tokens: [T, H].
        row: how they are divided into the prompts.
    """

    tokens: Tensor
    row: PrefixRow

    @property
    def last(self) -> Tensor:
        """The state of each prompt's last token, [B, H]."""
        return self.tokens[self.row.ends - 1]


def state_size(llm_config: Any) -> int:
    """H, the width of a hidden state; a word's embedding may be narrower (ALBERT, ELECTRA), OPT's states as narrow."""
    return int(getattr(llm_config, "word_embed_proj_dim", None) or llm_config.hidden_size)


class SegmentEncoder(nn.Module):
    """Prompts that begin with one instruction, through a decoder; behind it each has a segment of its own.

    Args:
        llm: a decoder without head that gives ``last_hidden_state`` after its final norm.
        instruction: its tokens, int64 [P].

    Attributes:
        layout: how prompts lie in memory; :func:`recbole_tslrec.llm.layout.choose_layout` sets it.
        kernel: the kernel of the attention over a prefix row.
    """

    instruction: Tensor

    def __init__(self, llm: nn.Module, instruction: Tensor) -> None:
        super().__init__()
        self.llm = llm
        self.layout = PADDED
        self.register_buffer("instruction", instruction, persistent=False)
        self.kernel = default_kernel(self.token_embedding.weight.device)
        self._prefix_states: dict[nn.Module, tuple[Tensor, Tensor]] = {}

    @property
    def token_embedding(self) -> nn.Embedding:
        """The LLM's embedding of its own tokens."""
        embedding: Any = self.llm.get_input_embeddings()  # type: ignore[operator]
        return embedding  # type: ignore[no-any-return]

    @property
    def word_scale(self) -> float:
        """The standard deviation of the token embeddings as the LLM's layers get them; Gemma's are scaled weights."""
        weight = self.token_embedding.weight.detach()
        few = torch.arange(min(16, len(weight)), device=weight.device)
        scaled = self.token_embedding(few).detach().float().norm() / weight[few].float().norm()
        return float(weight.float().std()) * float(scaled)

    @property
    def hidden_size(self) -> int:
        """H, the width of a hidden state."""
        return state_size(base_model(self.llm).config)

    def states(self, segments: Tensor, lengths: Tensor) -> SegmentStates:
        """The hidden states of every token behind the instruction, in the LLM's type.

        Args:
            segments: embedded tokens, one prompt's after the other's, [T, H].
            lengths: tokens of each prompt, int64 [B].
        """
        instruction = self.token_embedding(self.instruction)  # [P, H]
        row = PrefixRow(len(instruction), lengths, int(lengths.max()), self.kernel, self._prefix_states)
        read = self._read_padded if self.layout == PADDED else self._read_row
        return SegmentStates(read(instruction, segments, row), row)

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
