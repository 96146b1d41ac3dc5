"""LiGR's block in a sequential recommender: Borisyuk et al., "From Features to Transformers" (2025), and eSASRec.

eSASRec (Tikhonovich et al., RecSys 2025) is SASRec with this block and a sampled softmax. Each layer of a block has its
LayerNorm in front, and what it adds passes a gate that the residual sets. Unlike eSASRec, positions are counted from
the first item, as in RecBole's SASRec.
"""

from typing import Any

from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention, silu

from recbole_tslrec.models.stacked_blocks import CausalBlocks, heads_of


class CausalAttention(nn.Module):
    """Multi-head attention of each position to those up to it."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        size, self.heads = config["hidden_size"], heads_of(config)
        self.dropout_prob = config["attn_dropout_prob"]
        self.input = nn.Linear(size, 3 * size)
        self.output = nn.Linear(size, size)

    def forward(self, values: Tensor) -> Tensor:
        """[B, L, d] -> [B, L, d]."""
        parts = self.input(values).chunk(3, dim=-1)
        query, key, value = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)  # [B, h, L, d / h]
        probability = self.dropout_prob if self.training else 0.0
        context = scaled_dot_product_attention(query, key, value, dropout_p=probability, is_causal=True)
        output: Tensor = self.output(context.transpose(1, 2).flatten(2))
        return output


class SwiGLU(nn.Module):
    """W_3 dropout(silu(W_1 x) * W_2 x), without biases."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        size, inner = config["hidden_size"], config["inner_size"]
        self.input = nn.Linear(size, 2 * inner, bias=False)
        self.output = nn.Linear(inner, size, bias=False)
        self.dropout = nn.Dropout(config["hidden_dropout_prob"])

    def forward(self, values: Tensor) -> Tensor:
        """[..., d] -> [..., d]."""
        gate, value = self.input(values).chunk(2, dim=-1)
        output: Tensor = self.output(self.dropout(silu(gate) * value))
        return output


class GatedResidual(nn.Module):
    """x + sigmoid(W x) * dropout(layer(LayerNorm(x)))."""

    def __init__(self, config: Any, layer: nn.Module) -> None:
        super().__init__()
        size = config["hidden_size"]
        self.LayerNorm = nn.LayerNorm(size, eps=config["layer_norm_eps"])
        self.layer = layer
        self.gate = nn.Linear(size, size)
        self.dropout = nn.Dropout(config["hidden_dropout_prob"])

    def forward(self, hidden: Tensor) -> Tensor:
        """[B, L, d] -> [B, L, d]."""
        added: Tensor = self.gate(hidden).sigmoid() * self.dropout(self.layer(self.LayerNorm(hidden)))
        return hidden + added


def ligr_block(config: Any, _length: int) -> nn.Module:
    """Attention and a feed-forward layer, each behind a gate."""
    return nn.Sequential(GatedResidual(config, CausalAttention(config)), GatedResidual(config, SwiGLU(config)))


class LiGR(CausalBlocks):
    """A recommender of LiGR's blocks; losses CE and BPR."""

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset, ligr_block)
