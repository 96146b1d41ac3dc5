"""The network of P5 and POD: a T5 whose encoder also knows which pieces of text belong to one word."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from recbole_tslrec.baselines.t5_beams import BeamDecoder
from recbole_tslrec.llm.settings import PADDED


class GenerationNetwork(nn.Module):
    """From a prompt to the scores of the tokens of an item.

    Args:
        t5: trained in full.
        most_words: rows of the embedding of words; row 0 is of what has no number.
        soft_prompts: learned vectors that stand before the prompt, for each task (POD has them, P5 none).
        tasks: how many tasks there are.
    """

    llm_path: ClassVar[str] = "t5"
    layout: ClassVar[str] = PADDED
    shared_tokens: ClassVar[int] = 0
    closing_tokens: ClassVar[int] = 0

    def __init__(self, t5: Any, most_words: int, soft_prompts: int = 0, tasks: int = 1) -> None:
        super().__init__()
        self.t5 = t5
        size = t5.config.d_model
        self.whole_words = nn.Embedding(most_words, size)
        self.soft_prompts = nn.Embedding(tasks * soft_prompts, size) if soft_prompts else None
        if self.soft_prompts is not None:
            nn.init.uniform_(self.soft_prompts.weight, -0.1, 0.1)
        self.prompt_length = soft_prompts

    @property
    def own_layers(self) -> Mapping[str, str]:
        """What is trained beside the T5."""
        layers = {"whole_words": "whole_words"}
        return layers if self.soft_prompts is None else {**layers, "soft_prompts": "soft_prompts"}

    def encode(self, tokens: Tensor, words: Tensor, token_count: Tensor, task: Tensor) -> tuple[Tensor, Tensor]:
        """The encoder's states.

        Args:
            tokens: of each prompt, pads behind, int64 [B, E].
            words: the number of the word that each belongs to, int64 [B, E].
            token_count: int64 [B].
            task: of each prompt, int64 [B]; decides the soft prompt.

        Returns:
            States [B, S + E, H] behind S soft prompts, and where they are no pads, bool [B, S + E].
        """
        embedded = self.t5.get_input_embeddings()(tokens) + self.whole_words(words)
        is_token = torch.arange(tokens.shape[1], device=tokens.device) < token_count.unsqueeze(1)  # [B, E]
        if self.soft_prompts is not None:
            rows = task.unsqueeze(1) * self.prompt_length + torch.arange(self.prompt_length, device=task.device)
            embedded = torch.cat([self.soft_prompts(rows), embedded], dim=1)
            is_token = nn.functional.pad(is_token, (self.prompt_length, 0), value=True)
        states = self.t5.encoder(inputs_embeds=embedded, attention_mask=is_token.long()).last_hidden_state
        return states, is_token

    def forward(
        self, tokens: Tensor, words: Tensor, token_count: Tensor, task: Tensor, decoded: Tensor
    ) -> tuple[Tensor, Tensor]:
        """As :meth:`encode`, and the scores of the next tokens.

        Args:
            decoded: what stands before each token to predict, int64 [B, T].

        Returns:
            The encoder's states [B, S + E, H] and scores over the vocabulary, in float32 or better, [B, T, V].
        """
        states, is_token = self.encode(tokens, words, token_count, task)
        scores = self.t5(
            encoder_outputs=(states,), attention_mask=is_token.long(), decoder_input_ids=decoded, use_cache=False
        ).logits
        return states, scores if scores.dtype == torch.float64 else scores.float()

    @torch.no_grad()
    def decoder(self, tokens: Tensor, words: Tensor, token_count: Tensor, task: Tensor) -> BeamDecoder:
        """A decoder of many beams for each prompt; see :meth:`encode`."""
        return BeamDecoder(self.t5, *self.encode(tokens, words, token_count, task))

    def trainable(self) -> dict[str, nn.Parameter]:
        """All parameters."""
        return dict(self.named_parameters())

    def checkpoint_activations(self) -> None:
        """For training in little memory: compute each layer's activations a second time rather than keep them."""
        self.t5.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
