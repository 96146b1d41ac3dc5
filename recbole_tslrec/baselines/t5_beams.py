"""The decoder of a T5 for many beams of a user: the user's encoder states and their keys and values are made once.

Beams of one user stand beside each other as positions do, so that cross attention reads one copy of the user's keys;
each beam has its own keys and values of the tokens that it generated.
"""

from typing import Any

import torch
from torch import Tensor


class BeamDecoder:
    """The next token's log-probabilities, step by step; for :func:`recbole_tslrec.baselines.beam_search.beam_search`.

    Args:
        t5: ``T5ForConditionalGeneration`` in evaluation mode.
        states: of the encoder, [B, E, H].
        is_token: where these are no pads, bool [B, E].
    """

    def __init__(self, t5: Any, states: Tensor, is_token: Tensor) -> None:
        self.t5 = t5
        self.blocks = t5.decoder.block
        self.hidden_mask = ~is_token[:, None, None, :]  # [B, 1, 1, E]
        cross = [block.layer[1].EncDecAttention for block in self.blocks]
        self.encoded = [(_heads(part.k(states), part), _heads(part.v(states), part)) for part in cross]  # [B, h, E, c]
        self.generated: list[tuple[Tensor, Tensor]] = []  # of each layer [B, k, h, t, c]

    def __call__(self, origin: Tensor | None, token: Tensor | None) -> Tensor:
        """Log-probabilities of the next token, in float32 or better.

        Args:
            origin: the beam of the last step that each beam goes on from, int64 [B, k]; ``None`` at the start.
            token: the last token of each beam, int64 [B, k]; ``None`` at the start.

        Returns:
            [B, k, V].
        """
        if token is None:
            users = len(self.hidden_mask)
            token = torch.full((users, 1), self.t5.config.decoder_start_token_id, device=self.hidden_mask.device)
        if origin is not None:
            self.generated = [(_reorder(keys, origin), _reorder(values, origin)) for keys, values in self.generated]
        hidden = self.t5.decoder.embed_tokens(token)  # [B, k, H]
        bias = self._bias(self.generated[0][0].shape[3] + 1 if self.generated else 1)  # [h, t]
        for number, block in enumerate(self.blocks):
            hidden = hidden + self._attend_to_own(number, block.layer[0], hidden, bias)
            hidden = hidden + self._attend_to_encoder(number, block.layer[1], hidden)
            hidden = block.layer[2](hidden)
        hidden = self.t5.decoder.final_layer_norm(hidden)
        if self.t5.config.scale_decoder_outputs:
            hidden = hidden * self.t5.model_dim**-0.5
        scores = self.t5.lm_head(hidden)
        result: Tensor = (scores if scores.dtype == torch.float64 else scores.float()).log_softmax(dim=-1)
        return result

    def _attend_to_own(self, number: int, layer: Any, hidden: Tensor, bias: Tensor) -> Tensor:
        """Each beam to the tokens that it generated: [B, k, H] -> [B, k, H]."""
        part, normed = layer.SelfAttention, layer.layer_norm(hidden)
        query, key, value = (
            projection(normed).unflatten(-1, (part.n_heads, -1)).unsqueeze(3) for projection in (part.q, part.k, part.v)
        )  # [B, k, h, 1, c]
        if number < len(self.generated):
            before = self.generated[number]
            key, value = torch.cat([before[0], key], dim=3), torch.cat([before[1], value], dim=3)  # [B, k, h, t, c]
            self.generated[number] = key, value
        else:
            self.generated.append((key, value))
        weight = (query @ key.transpose(3, 4) + bias.unsqueeze(1)).softmax(dim=-1)  # [B, k, h, 1, t]
        output: Tensor = part.o((weight @ value).flatten(2))
        return output

    def _attend_to_encoder(self, number: int, layer: Any, hidden: Tensor) -> Tensor:
        """All beams of a user to its encoder states: [B, k, H] -> [B, k, H]."""
        part = layer.EncDecAttention
        query = _heads(part.q(layer.layer_norm(hidden)), part)  # [B, h, k, c]
        key, value = self.encoded[number]
        scores = (query @ key.transpose(2, 3)).masked_fill(self.hidden_mask, -torch.inf)  # [B, h, k, E]
        output: Tensor = part.o((scores.softmax(dim=-1) @ value).transpose(1, 2).flatten(2))
        return output

    def _bias(self, length: int) -> Tensor:
        """What T5 adds to the scores of the last of some tokens for those up to it, [h, t]."""
        first = self.blocks[0].layer[0].SelfAttention
        bias: Tensor = first.compute_bias(1, length, past_seen_tokens=length - 1)[0, :, 0]
        return bias


def _heads(values: Tensor, part: Any) -> Tensor:
    """[B, n, H] -> [B, h, n, c]."""
    rows, places = values.shape[:2]
    return values.view(rows, places, part.n_heads, -1).transpose(1, 2)


def _reorder(values: Tensor, origin: Tensor) -> Tensor:
    """The beams that are gone on from: [B, k, h, t, c] and [B, k'] -> [B, k', h, t, c]."""
    user = torch.arange(len(values), device=values.device).unsqueeze(1)
    return values[user, origin]
