"""BSARec: Shin et al., "An Attentive Inductive Bias for Sequential Recommendation", AAAI 2024.

A block adds to self-attention what attention smooths away: the high frequencies of the row. Scores and losses are
SASRec's. The filter sees the whole row, so that only prefixes can be trained.
"""

from typing import Any

import torch
from recbole.model.layers import MultiHeadAttention
from torch import Tensor, nn

from recbole_tslrec.models.sasrec import attention_at
from recbole_tslrec.models.stacked_blocks import WholeRowBlocks, feed_forward


def low_pass(length: int, frequencies: int) -> Tensor:
    """The projection on the lowest frequencies of the discrete Fourier transform, float64 [L, L].

    Args:
        length: positions L of a row.
        frequencies: how many are kept, the constant among them.
    """
    spectrum = torch.fft.rfft(torch.eye(length, dtype=torch.float64), dim=0)  # [L // 2 + 1, L]
    spectrum[frequencies:] = 0
    projection: Tensor = torch.fft.irfft(spectrum, n=length, dim=0)
    return projection


class FrequencyRescaling(nn.Module):
    """LayerNorm(x + dropout(low + beta^2 high)): x in two parts by frequency, with a learned weight on the high one.

    Args:
        length: positions L of a row.
        config: ``c``, ``hidden_size``, ``hidden_dropout_prob`` and ``layer_norm_eps``.
    """

    low_pass: Tensor

    def __init__(self, length: int, config: Any) -> None:
        super().__init__()
        size = config["hidden_size"]
        self.register_buffer("low_pass", low_pass(length, config["c"] // 2 + 1).float(), persistent=False)
        self.beta = nn.Parameter(torch.randn(size))
        self.dropout = nn.Dropout(config["hidden_dropout_prob"])
        self.LayerNorm = nn.LayerNorm(size, eps=config["layer_norm_eps"])

    def forward(self, hidden: Tensor) -> Tensor:
        """[B, L, d] -> [B, L, d]."""
        return self._rescaled(hidden, self.low_pass @ hidden)

    def last(self, hidden: Tensor) -> Tensor:
        """[B, L, d] -> the last position of :meth:`forward`, [B, d]."""
        return self._rescaled(hidden[:, -1], self.low_pass[-1] @ hidden)

    def _rescaled(self, hidden: Tensor, low: Tensor) -> Tensor:
        normed: Tensor = self.LayerNorm(hidden + self.dropout(low + self.beta**2 * (hidden - low)))
        return normed


class BSARecBlock(nn.Module):
    """``alpha`` parts of rescaled frequencies and 1 - ``alpha`` of causal self-attention, and a feed-forward layer."""

    def __init__(self, config: Any, length: int) -> None:
        super().__init__()
        self.alpha = config["alpha"]
        self.frequencies = FrequencyRescaling(length, config)
        self.attention = MultiHeadAttention(
            config["n_heads"],
            config["hidden_size"],
            config["hidden_dropout_prob"],
            config["attn_dropout_prob"],
            config["layer_norm_eps"],
        )
        self.feed_forward = feed_forward(config)

    def forward(self, hidden: Tensor, is_item: Tensor) -> Tensor:
        """[B, L, d] and [B, L] -> [B, L, d]."""
        length = hidden.shape[1]
        sees = is_item.unsqueeze(1) & torch.ones(length, length, dtype=torch.bool, device=hidden.device).tril()
        return self._mixed(self.frequencies(hidden), self.attention(hidden, _mask(sees).unsqueeze(1)))

    def last(self, hidden: Tensor, is_item: Tensor) -> Tensor:
        """[B, L, d] and [B, L] -> the last position of :meth:`forward`, [B, d]."""
        position = torch.full_like(is_item[:, 0], hidden.shape[1] - 1, dtype=torch.int64)
        attended = attention_at(self.attention, hidden, _mask(is_item).unsqueeze(1), position)
        return self._mixed(self.frequencies.last(hidden), attended)

    def _mixed(self, rescaled: Tensor, attended: Tensor) -> Tensor:
        output: Tensor = self.feed_forward(self.alpha * rescaled + (1 - self.alpha) * attended)
        return output


def _mask(sees: Tensor) -> Tensor:
    """What RecBole's attention adds to the scores of positions that are seen, or not."""
    return torch.where(sees, 0.0, -10000.0)


class BSARec(WholeRowBlocks):
    """BSARec; losses CE and BPR."""

    def __init__(self, config: Any, dataset: Any) -> None:
        if not 0 <= config["alpha"] <= 1:
            raise ValueError(f"alpha [{config['alpha']}] must lie between 0 (attention only) and 1 (frequencies only)")
        if config["c"] < 1:
            raise ValueError(f"c [{config['c']}] must be at least 1: c // 2 + 1 frequencies count as low")
        super().__init__(config, dataset, BSARecBlock)
