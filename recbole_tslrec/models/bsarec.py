"""BSARec: Shin et al., "An Attentive Inductive Bias for Sequential Recommendation", AAAI 2024.

A block adds to self-attention what attention smooths away: the high frequencies of the row. Scores and losses are
SASRec's. The filter sees the whole row, so that only prefixes can be trained.
"""

from typing import Any

import torch
from recbole.model.layers import MultiHeadAttention
from torch import Tensor, nn

from recbole_tslrec.models.stacked_blocks import WholeRowBlocks, feed_forward, heads_of


def low_pass_projection(length: int, frequencies: int) -> Tensor:
    """The projection on the lowest frequencies of the discrete Fourier transform, float64 [L, L].

    Args:
        length: positions L of a row.
        frequencies: how many are kept, the constant among them.
    """
    spectrum = torch.fft.rfft(torch.eye(length, dtype=torch.float64), dim=0)  # [L // 2 + 1, L]
    spectrum[frequencies:] = 0
    projection: Tensor = torch.fft.irfft(spectrum, n=length, dim=0)
    return projection


class BSARecBlock(nn.Module):
    """``alpha`` parts of rescaled frequencies and 1 - ``alpha`` of causal self-attention, and a feed-forward layer.

    The former are LayerNorm(x + dropout(low + beta^2 high)): x in two parts by frequency, with a learned weight on the
    high one.

    Args:
        config: ``alpha``, ``c``, and what the attention and the feed-forward layer read.
        length: positions L of a row.
    """

    low_pass: Tensor

    def __init__(self, config: Any, length: int) -> None:
        super().__init__()
        size = config["hidden_size"]
        self.alpha = config["alpha"]
        self.register_buffer("low_pass", low_pass_projection(length, config["c"] // 2 + 1).float(), persistent=False)
        self.beta = nn.Parameter(torch.randn(size))
        self.dropout = nn.Dropout(config["hidden_dropout_prob"])
        self.LayerNorm = nn.LayerNorm(size, eps=config["layer_norm_eps"])
        self.attention = MultiHeadAttention(
            heads_of(config),
            size,
            config["hidden_dropout_prob"],
            config["attn_dropout_prob"],
            config["layer_norm_eps"],
        )
        self.feed_forward = feed_forward(config)

    def forward(self, hidden: Tensor, is_item: Tensor) -> Tensor:
        """[B, L, d] and [B, L] -> [B, L, d]."""
        length = hidden.shape[1]
        earlier = torch.ones(length, length, dtype=torch.bool, device=hidden.device).tril()
        sees = earlier & (is_item.unsqueeze(2) == is_item.unsqueeze(1))  # items see items; pads, in front, see pads
        return self._mixed(hidden, self.low_pass @ hidden, self._attend(hidden, hidden, sees))

    def last(self, hidden: Tensor, is_item: Tensor) -> Tensor:
        """[B, L, d] and [B, L] -> the last position of :meth:`forward`, [B, d]."""
        sees = (is_item[:, -1:] == is_item).unsqueeze(1)
        context = self._attend(hidden[:, -1:], hidden, sees).squeeze(1)
        return self._mixed(hidden[:, -1], self.low_pass[-1] @ hidden, context)

    def _attend(self, hidden: Tensor, seen: Tensor, sees: Tensor) -> Tensor:
        """Softmax attention of T positions, [B, T, d], to those of L that they see, [B, T, L] -> [B, T, d]."""
        attention, heads = self.attention, self.attention.num_attention_heads
        projected = attention.query(hidden), attention.key(seen), attention.value(seen)
        query, key, value = (each.view(*each.shape[:2], heads, -1).transpose(1, 2) for each in projected)
        mask = torch.where(sees, 0.0, -torch.inf).to(query.dtype).unsqueeze(1)
        weight = (query @ key.transpose(2, 3) / key.shape[-1] ** 0.5 + mask).softmax(dim=-1)  # [B, heads, T, L]
        context: Tensor = self.attention.attn_dropout(weight) @ value  # [B, heads, T, d / heads]
        return context.transpose(1, 2).flatten(2)

    def _mixed(self, hidden: Tensor, low: Tensor, context: Tensor) -> Tensor:
        rescaled = self.LayerNorm(hidden + self.dropout(low + self.beta**2 * (hidden - low)))
        attention = self.attention
        attended = attention.LayerNorm(hidden + attention.out_dropout(attention.dense(context)))
        output: Tensor = self.feed_forward(self.alpha * rescaled + (1 - self.alpha) * attended)
        return output


class BSARec(WholeRowBlocks):
    """BSARec; losses CE and BPR."""

    def __init__(self, config: Any, dataset: Any) -> None:
        if not 0 <= config["alpha"] <= 1:
            raise ValueError(f"alpha [{config['alpha']}] must lie between 0 (attention only) and 1 (frequencies only)")
        if config["c"] < 1:
            raise ValueError(f"c [{config['c']}] must be at least 1: c // 2 + 1 frequencies count as low")
        super().__init__(config, dataset, BSARecBlock)
