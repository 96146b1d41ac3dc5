"""FMLP-Rec: Zhou et al., "Filter-enhanced MLP is All You Need for Sequential Recommendation", WWW 2022.

RecBole has no FMLP-Rec. Scoring and loss are SASRec's, as RecBole computes them.
"""

from typing import Any

import torch
from recbole.model.abstract_recommender import SequentialRecommender
from recbole.model.layers import FeedForward
from recbole.model.loss import BPRLoss
from recbole.model.sequential_recommender import SASRec
from torch import Tensor, nn


class FilterLayer(nn.Module):
    """A learned filter in the frequency domain, with dropout, residual and LayerNorm.

    Args:
        length: positions L of a sequence.
        hidden_size: d.
        dropout_prob: probability of an element to be zeroed before the residual.
        layer_norm_eps: added to the variance.
    """

    def __init__(self, length: int, hidden_size: int, dropout_prob: float, layer_norm_eps: float) -> None:
        super().__init__()
        # real and imaginary part of one complex weight per frequency and channel: [L // 2 + 1, d, 2]
        self.complex_weight = nn.Parameter(torch.randn(length // 2 + 1, hidden_size, 2) * 0.02)
        self.dropout = nn.Dropout(dropout_prob)
        self.LayerNorm = nn.LayerNorm(hidden_size, eps=layer_norm_eps)

    def forward(self, hidden: Tensor) -> Tensor:
        """[B, L, d] -> [B, L, d]."""
        spectrum = torch.fft.rfft(hidden, dim=1, norm="ortho")  # [B, L // 2 + 1, d]
        spectrum = spectrum * torch.view_as_complex(self.complex_weight)
        filtered = torch.fft.irfft(spectrum, n=hidden.shape[1], dim=1, norm="ortho")
        normed: Tensor = self.LayerNorm(hidden + self.dropout(filtered))
        return normed

    def last(self, hidden: Tensor) -> Tensor:
        """[B, L, d] -> the last position of :meth:`forward`, [B, d].

        A product of spectra is a circular convolution with the filter's impulse response h, so position L - 1 is the
        sum over m of ``hidden[m] h[L - 1 - m]``.
        """
        response = torch.fft.irfft(torch.view_as_complex(self.complex_weight), n=hidden.shape[1], dim=0)  # h, [L, d]
        filtered = (hidden * response.flip(0)).sum(dim=1)
        normed: Tensor = self.LayerNorm(hidden[:, -1] + self.dropout(filtered))
        return normed


class FilterBlock(nn.Module):
    """A filter layer and the feed-forward layer of the transformer."""

    def __init__(self, config: Any, length: int) -> None:
        super().__init__()
        self.filter = FilterLayer(
            length, config["hidden_size"], config["hidden_dropout_prob"], config["layer_norm_eps"]
        )
        self.feed_forward = FeedForward(
            config["hidden_size"],
            config["inner_size"],
            config["hidden_dropout_prob"],
            config["hidden_act"],
            config["layer_norm_eps"],
        )

    def forward(self, hidden: Tensor) -> Tensor:
        """[B, L, d] -> [B, L, d]."""
        output: Tensor = self.feed_forward(self.filter(hidden))
        return output

    def last(self, hidden: Tensor) -> Tensor:
        """[B, L, d] -> the last position of :meth:`forward`, [B, d]."""
        output: Tensor = self.feed_forward(self.filter.last(hidden))
        return output


def pads_in_front(item_seq: Tensor, item_seq_len: Tensor) -> Tensor:
    """Move the pads of [B, L] from behind the items (RecBole) to before them (FMLP-Rec), keeping the order."""
    length = item_seq.shape[1]
    position = torch.arange(length, device=item_seq.device) - (length - item_seq_len).unsqueeze(1)  # [B, L]
    return item_seq.gather(1, position % length)


class FMLPRec(SASRec):  # type: ignore[misc]  # RecBole is untyped
    """FMLP-Rec with SASRec's embedding, scoring and loss (CE or BPR).

    The filter mixes all positions of a row, so pads must say nothing: they stand in front of the items, as in the
    original, and (our choice) are zeroed before every block. Inherits the initialisation, ``calculate_loss``,
    ``predict`` and ``full_sort_predict`` of RecBole's SASRec.
    """

    def __init__(self, config: Any, dataset: Any) -> None:
        SequentialRecommender.__init__(self, config, dataset)  # SASRec's own would build the attention
        self.hidden_size = config["hidden_size"]
        self.initializer_range = config["initializer_range"]
        self.loss_type = config["loss_type"]

        self.item_embedding = nn.Embedding(self.n_items, self.hidden_size, padding_idx=0)
        self.position_embedding = nn.Embedding(self.max_seq_length, self.hidden_size)
        self.LayerNorm = nn.LayerNorm(self.hidden_size, eps=config["layer_norm_eps"])
        self.dropout = nn.Dropout(config["hidden_dropout_prob"])
        if config["n_layers"] < 1:
            raise ValueError(f"n_layers [{config['n_layers']}] must be at least 1, the filter blocks")
        blocks = (FilterBlock(config, self.max_seq_length) for _ in range(config["n_layers"]))
        self.blocks: Any = nn.ModuleList(blocks)  # of FilterBlock, which ModuleList's type does not say
        if self.loss_type not in ("CE", "BPR"):
            raise ValueError(f"loss_type [{self.loss_type}] is not one of CE, BPR")
        self.loss_fct = nn.CrossEntropyLoss() if self.loss_type == "CE" else BPRLoss()
        self.apply(self._init_weights)

    def forward(self, item_seq: Tensor, item_seq_len: Tensor) -> Tensor:
        """Item ids [B, L], pads behind, and their number [B] -> the sequence's vector [B, d]."""
        item_seq = pads_in_front(item_seq, item_seq_len)
        is_item = (item_seq != 0).unsqueeze(-1)  # [B, L, 1]
        hidden = self.item_embedding(item_seq) + self.position_embedding.weight  # [B, L, d]
        hidden = self.dropout(self.LayerNorm(hidden))
        for block in self.blocks[:-1]:
            hidden = block(hidden * is_item)
        last: Tensor = self.blocks[-1].last(hidden * is_item)  # the only position that is read
        return last
