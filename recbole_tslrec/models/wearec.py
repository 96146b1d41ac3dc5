"""WEARec: Xu et al., "Wavelet Enhanced Adaptive Frequency Filter for Sequential Recommendation", arXiv:2511.07028.

A block mixes a filter in the frequency domain, which a network adapts to each row, with a Haar transform that weighs
the difference of neighbouring positions. Scores and losses are SASRec's. Both see the whole row, so that only prefixes
can be trained. Written from the description of the method, not from its authors' code; the form of the networks, the
initial values (of the weights, FMLP-Rec's) and the context (the mean over the positions) are our choices.
"""

from typing import Any

import torch
from torch import Tensor, nn

from recbole_tslrec.models.stacked_blocks import WholeRowBlocks, feed_forward, heads_of


class AdaptiveFilter(nn.Module):
    """X w (1 + w'(c)) + b + b'(c) at each frequency; each head has its w and b, and w', b' are networks of a context.

    Args:
        length: positions L of a row, with F = L // 2 + 1 frequencies.
        config: ``n_heads`` h and ``hidden_size`` d.
    """

    def __init__(self, length: int, config: Any) -> None:
        super().__init__()
        size, shape = config["hidden_size"], (heads_of(config), length // 2 + 1)
        self.scale = nn.Parameter(torch.randn(shape) * 0.02)
        self.shift = nn.Parameter(torch.zeros(shape))
        self.scale_of_row, self.shift_of_row = (
            nn.Sequential(
                nn.Linear(size, size), nn.GELU(), nn.Linear(size, shape[0] * shape[1]), nn.Unflatten(1, shape)
            )
            for _ in range(2)
        )

    def _of_row(self, context: Tensor) -> tuple[Tensor, Tensor]:
        """[B, d] -> factor and summand of each frequency, [B, h, F] both."""
        return self.scale * (1 + self.scale_of_row(context)), self.shift + self.shift_of_row(context)

    def forward(self, hidden: Tensor, context: Tensor) -> Tensor:
        """[B, L, d] and [B, d] -> [B, L, d]."""
        scale, shift = (values.transpose(1, 2).unsqueeze(-1) for values in self._of_row(context))  # [B, F, h, 1]
        spectrum = torch.fft.rfft(self._heads(hidden), dim=1, norm="ortho")  # [B, F, h, d / h]
        spectrum = spectrum * scale + shift
        filtered: Tensor = torch.fft.irfft(spectrum, n=hidden.shape[1], dim=1, norm="ortho").flatten(2)
        return filtered

    def last(self, hidden: Tensor, context: Tensor) -> Tensor:
        """[B, L, d] and [B, d] -> the last position of :meth:`forward`, [B, d].

        A product of spectra is a circular convolution with the filter's impulse response r, so position L - 1 is the
        sum over m of ``hidden[m] r[L - 1 - m]``.
        """
        length = hidden.shape[1]
        scale, shift = self._of_row(context)
        response = torch.fft.irfft(scale, n=length, dim=2).flip(2)  # [B, h, L], of position L - 1 first m = 0
        added = torch.fft.irfft(shift, n=length, dim=2, norm="ortho")[..., -1:]  # [B, h, 1]
        filtered: Tensor = torch.einsum("bhl,blhe->bhe", response, self._heads(hidden)) + added
        return filtered.flatten(1)

    def _heads(self, hidden: Tensor) -> Tensor:
        """[B, L, d] -> [B, L, h, d / h]."""
        return hidden.view(*hidden.shape[:2], self.scale.shape[0], -1)


class HaarEnhancement(nn.Module):
    """One level of the Haar transform, whose details are multiplied by a learned weight before they are put back.

    Neighbours x, y have the mean (x + y) / 2 and the detail (x - y) / 2; they become mean + weight * detail and mean -
    weight * detail. Where L is odd, a position of zeros stands in front of the row.

    Args:
        length: positions L of a row.
        hidden_size: d.
    """

    def __init__(self, length: int, hidden_size: int) -> None:
        super().__init__()
        self.added = length % 2
        self.detail_weight = nn.Parameter(torch.randn((length + 1) // 2, hidden_size) * 0.02)

    def forward(self, hidden: Tensor) -> Tensor:
        """[B, L, d] -> [B, L, d]."""
        if self.added:
            hidden = nn.functional.pad(hidden, (0, 0, 1, 0))
        first, second = hidden.view(hidden.shape[0], -1, 2, hidden.shape[2]).unbind(2)  # [B, L / 2, d] both
        mean, detail = (first + second) / 2, self.detail_weight * (first - second) / 2
        return torch.stack((mean + detail, mean - detail), dim=2).flatten(1, 2)[:, self.added :]

    def last(self, hidden: Tensor) -> Tensor:
        """[B, L, d] -> the last position of :meth:`forward`, [B, d]."""
        second = hidden[:, -1]
        first = hidden[:, -2] if hidden.shape[1] > 1 else torch.zeros_like(second)
        return (first + second) / 2 - self.detail_weight[-1] * (first - second) / 2


class WEARecBlock(nn.Module):
    """``alpha`` parts of the adaptive filter and 1 - ``alpha`` of the Haar transform, and a feed-forward layer."""

    def __init__(self, config: Any, length: int) -> None:
        super().__init__()
        self.alpha = config["alpha"]
        self.filter = AdaptiveFilter(length, config)
        self.haar = HaarEnhancement(length, config["hidden_size"])
        self.dropout = nn.Dropout(config["hidden_dropout_prob"])
        self.LayerNorm = nn.LayerNorm(config["hidden_size"], eps=config["layer_norm_eps"])
        self.feed_forward = feed_forward(config)

    def forward(self, hidden: Tensor, _is_item: Tensor) -> Tensor:
        """[B, L, d] -> [B, L, d]."""
        return self._mixed(hidden, self.filter(hidden, hidden.mean(dim=1)), self.haar(hidden))

    def last(self, hidden: Tensor, _is_item: Tensor) -> Tensor:
        """[B, L, d] -> the last position of :meth:`forward`, [B, d]."""
        return self._mixed(hidden[:, -1], self.filter.last(hidden, hidden.mean(dim=1)), self.haar.last(hidden))

    def _mixed(self, hidden: Tensor, filtered: Tensor, enhanced: Tensor) -> Tensor:
        mixed = self.alpha * filtered + (1 - self.alpha) * enhanced
        output: Tensor = self.feed_forward(self.LayerNorm(hidden + self.dropout(mixed)))
        return output


class WEARec(WholeRowBlocks):
    """WEARec; losses CE and BPR."""

    def __init__(self, config: Any, dataset: Any) -> None:
        if not 0 <= config["alpha"] <= 1:
            raise ValueError(f"alpha [{config['alpha']}] must lie between 0 (Haar transform) and 1 (filter)")
        super().__init__(config, dataset, WEARecBlock)
