"""HSTU: Zhai et al., "Actions Speak Louder than Words: Trillion-Parameter Sequential Transducers" (ICML 2024).

A block weighs the history by SiLU in the place of a softmax, with a bias for each distance, and multiplies what it
found with a gate. Unlike the original: scores are products with the item embeddings, neither normalised nor divided
by a temperature, and the bias knows distances in positions, not in time.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm, silu

from recbole_tslrec.models.stacked_blocks import CausalBlocks, heads_of


class HSTUBlock(nn.Module):
    """x + W_o dropout(LayerNorm(A v) * u), where A = silu(q k^T + bias) / L on and below the diagonal.

    u, v, q and k are one projection of LayerNorm(x), with SiLU. These LayerNorms have no weights.

    Args:
        config: ``hidden_size``, ``n_heads``, ``hidden_dropout_prob`` and ``layer_norm_eps``.
        length: L, the most positions of a row.
    """

    def __init__(self, config: Any, length: int) -> None:
        super().__init__()
        size, self.heads = config["hidden_size"], heads_of(config)
        self.length, self.eps = length, config["layer_norm_eps"]
        self.input = nn.Linear(size, 4 * size, bias=False)
        self.output = nn.Linear(size, size)
        self.distance_bias = nn.Parameter(torch.randn(length) * 0.02)  # of 0, 1, ... positions back
        self.dropout = nn.Dropout(config["hidden_dropout_prob"])

    def forward(self, hidden: Tensor) -> Tensor:
        """[B, L, d] -> [B, L, d]."""
        parts = silu(self.input(self._normed(hidden))).chunk(4, dim=-1)
        gate = parts[0]
        value, query, key = (
            part.view(*hidden.shape[:2], self.heads, -1).transpose(1, 2) for part in parts[1:]
        )  # [B, h, L, d / h]
        weight = silu(query @ key.transpose(2, 3) + self._bias(hidden.shape[1])).tril() / self.length  # [B, h, L, L]
        found = (weight @ value).transpose(1, 2).flatten(2)  # [B, L, d]
        output: Tensor = self.output(self.dropout(self._normed(found) * gate))
        return hidden + output

    def _bias(self, length: int) -> Tensor:
        """The bias of each pair of positions, [L, L]; it counts on and below the diagonal."""
        position = torch.arange(length, device=self.distance_bias.device)
        return self.distance_bias[(position.unsqueeze(1) - position).clamp(min=0)]

    def _normed(self, values: Tensor) -> Tensor:
        return layer_norm(values, values.shape[-1:], eps=self.eps)


class HSTU(CausalBlocks):
    """A recommender of HSTU's blocks; losses CE and BPR."""

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset, HSTUBlock)
        self.item_scale = self.hidden_size**0.5
