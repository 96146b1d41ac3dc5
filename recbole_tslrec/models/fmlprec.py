"""FMLP-Rec: Zhou et al., "Filter-enhanced MLP is All You Need for Sequential Recommendation", WWW 2022.

RecBole has no FMLP-Rec. Scoring and loss are SASRec's, as RecBole computes them.
"""

from typing import Any

import torch
from torch import Tensor, nn

from recbole_tslrec.models.stacked_blocks import WholeRowBlocks, feed_forward


class SpectralFilter(nn.Module):
    """A learned filter in the frequency domain.

    Args:
        length: positions L of a sequence.
        hidden_size: d.
    """

    def __init__(self, length: int, hidden_size: int) -> None:
        super().__init__()
        # real and imaginary part of one complex weight per frequency and channel: [L // 2 + 1, d, 2]
        self.complex_weight = nn.Parameter(torch.randn(length // 2 + 1, hidden_size, 2) * 0.02)

    def forward(self, hidden: Tensor) -> Tensor:
        """[B, L, d] -> [B, L, d]."""
        spectrum = torch.fft.rfft(hidden, dim=1, norm="ortho")  # [B, L // 2 + 1, d]
        spectrum = spectrum * torch.view_as_complex(self.complex_weight)
        filtered: Tensor = torch.fft.irfft(spectrum, n=hidden.shape[1], dim=1, norm="ortho")
        return filtered

    def last(self, hidden: Tensor) -> Tensor:
        """[B, L, d] -> the last position of :meth:`forward`, [B, d].

        A product of spectra is a circular convolution with the filter's impulse response h, so position L - 1 is the
        sum over m of ``hidden[m] h[L - 1 - m]``.
        """
        response = torch.fft.irfft(torch.view_as_complex(self.complex_weight), n=hidden.shape[1], dim=0)  # h, [L, d]
        last: Tensor = (hidden * response.flip(0)).sum(dim=1)
        return last


class FilterBlock(nn.Module):
    """A filter with dropout, residual and LayerNorm, and the feed-forward layer of the transformer."""

    def __init__(self, config: Any, length: int) -> None:
        super().__init__()
        self.filter = SpectralFilter(length, config["hidden_size"])
        self.dropout = nn.Dropout(config["hidden_dropout_prob"])
        self.LayerNorm = nn.LayerNorm(config["hidden_size"], eps=config["layer_norm_eps"])
        self.feed_forward = feed_forward(config)

    def forward(self, hidden: Tensor, _is_item: Tensor) -> Tensor:
        """[B, L, d] -> [B, L, d]."""
        return self._mixed(hidden, self.filter(hidden))

    def last(self, hidden: Tensor, _is_item: Tensor) -> Tensor:
        """[B, L, d] -> the last position of :meth:`forward`, [B, d]."""
        return self._mixed(hidden[:, -1], self.filter.last(hidden))

    def _mixed(self, hidden: Tensor, filtered: Tensor) -> Tensor:
        output: Tensor = self.feed_forward(self.LayerNorm(hidden + self.dropout(filtered)))
        return output


class FMLPRec(WholeRowBlocks):
    """FMLP-Rec with SASRec's embedding, scoring and loss (CE or BPR)."""

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset, FilterBlock)
