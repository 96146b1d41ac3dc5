"""LRURec (Yue et al., WSDM 2024): a linear recurrence over the history, computed for all positions at once.

A block is a recurrence of complex numbers, one for each of 2 d channels (the linear recurrent unit of Orvieto et al.,
ICML 2023), and a feed-forward layer, each with dropout, residual and LayerNorm. Positions are known from the recurrence
alone. Unlike the original: pads stand behind the items, where a causal model does not see them; biases start from 0.
"""

import math
from typing import Any

import torch
from recbole.model.abstract_recommender import SequentialRecommender
from torch import Tensor, nn
from torch.nn.functional import pad

from recbole_tslrec.models.stacked_blocks import check_layers, feed_forward, own_loss

_SLOWEST, _FASTEST = 0.8, 0.99  # |lambda| at the start


def scan(real: Tensor, imaginary: Tensor, decay: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """h_t = lambda h_(t-1) + u_t for all t, in log2(L) steps: after step k a state has the inputs of 2^k positions.

    Args:
        real: the real part of u, [B, L, D].
        imaginary: its imaginary part, [B, L, D].
        decay: both parts of lambda, [D] each.

    Returns:
        Both parts of h, [B, L, D] each.
    """
    a, b = decay
    reach = 1
    while reach < real.shape[1]:
        before, before_i = (pad(part[:, :-reach], (0, 0, reach, 0)) for part in (real, imaginary))
        real, imaginary = real + a * before - b * before_i, imaginary + a * before_i + b * before
        a, b = a * a - b * b, 2 * a * b
        reach *= 2
    return real, imaginary


class LinearRecurrence(nn.Module):
    """y_t = Re(C h_t) with h_t = lambda h_(t-1) + gamma B x_t; |lambda| < 1, whatever is learned.

    The complex B and C are real matrices of both parts, side by side.

    Args:
        hidden_size: d; there are 2 d channels.
    """

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        channels = 2 * hidden_size
        self.input = nn.Linear(hidden_size, 2 * channels)
        self.output = nn.Linear(2 * channels, hidden_size)
        square = _SLOWEST**2 + (_FASTEST**2 - _SLOWEST**2) * torch.rand(channels)  # |lambda|^2, evenly over the ring
        self.nu_log = nn.Parameter((-0.5 * square.log()).log())
        self.theta_log = nn.Parameter((2 * math.pi * torch.rand(channels)).log())
        self.gamma_log = nn.Parameter((1 - square).sqrt().log())  # the states have the scale of the inputs

    @property
    def decay(self) -> tuple[Tensor, Tensor]:
        """Both parts of lambda = exp(-exp(nu_log) + i exp(theta_log)), [2 d] each."""
        size, angle = (-self.nu_log.exp()).exp(), self.theta_log.exp()
        return size * angle.cos(), size * angle.sin()

    def forward(self, values: Tensor) -> Tensor:
        """[B, L, d] -> [B, L, d]."""
        real, imaginary = self.input(values).chunk(2, dim=-1)
        scale = self.gamma_log.exp()
        states = scan(real * scale, imaginary * scale, self.decay)
        output: Tensor = self.output(torch.cat(states, dim=-1))
        return output


class LRUBlock(nn.Module):
    """A recurrence and a feed-forward layer."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        size, dropout, eps = config["hidden_size"], config["hidden_dropout_prob"], config["layer_norm_eps"]
        self.recurrence = LinearRecurrence(size)
        self.dropout = nn.Dropout(dropout)
        self.LayerNorm = nn.LayerNorm(size, eps=eps)
        self.feed_forward = feed_forward(config)

    def forward(self, hidden: Tensor) -> Tensor:
        """[B, L, d] -> [B, L, d]."""
        mixed = self.LayerNorm(hidden + self.dropout(self.recurrence(hidden)))
        layer = self.feed_forward
        units = self.dropout(layer.intermediate_act_fn(layer.dense_1(mixed)))  # RecBole's forward drops no inner units
        output: Tensor = layer.LayerNorm(mixed + self.dropout(layer.dense_2(units)))
        return output


class LRURec(SequentialRecommender):  # type: ignore[misc]  # RecBole is untyped
    """LRURec with a bias for each item; its losses, CE and BPR, are those of ``SequenceTraining``."""

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        size, self.initializer_range = config["hidden_size"], config["initializer_range"]
        self.loss_type = config["loss_type"]
        self.loss_fct = own_loss(config)
        check_layers(config)
        self.item_embedding = nn.Embedding(self.n_items, size, padding_idx=0)
        self.item_bias = nn.Parameter(torch.zeros(self.n_items))
        self.dropout = nn.Dropout(config["hidden_dropout_prob"])
        self.LayerNorm = nn.LayerNorm(size, eps=config["layer_norm_eps"])
        self.blocks = nn.ModuleList(LRUBlock(config) for _ in range(config["n_layers"]))
        self.apply(self._init_weights)

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.trunc_normal_(
                module.weight, std=self.initializer_range, a=-2 * self.initializer_range, b=2 * self.initializer_range
            )
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)

    def forward(self, item_seq: Tensor, item_seq_len: Tensor) -> Tensor:
        """The sequence's vector, behind it a one that is multiplied with the item's bias.

        Args:
            item_seq: item ids, pads behind, int64 [B, L].
            item_seq_len: int64 [B].

        Returns:
            [B, d + 1].
        """
        hidden = self.LayerNorm(self.dropout(self.item_embedding(item_seq)))  # [B, L, d]
        for block in self.blocks:
            hidden = block(hidden)
        read: Tensor = self.gather_indexes(hidden, item_seq_len - 1)
        return pad(read, (0, 1), value=1.0)

    @property
    def output_table(self) -> Tensor:
        """What a sequence's vector is multiplied with: the item embeddings and their biases, [N + 1, d + 1]."""
        return torch.cat([self.item_embedding.weight, self.item_bias.unsqueeze(1)], dim=1)

    def output_rows(self, items: Tensor) -> Tensor:
        """Rows of :attr:`output_table`: item ids [...] -> [..., d + 1]."""
        return torch.cat([self.item_embedding(items), self.item_bias[items].unsqueeze(-1)], dim=-1)

    def predict(self, interaction: Any) -> Tensor:
        """The score of one item for each row, [B]."""
        query = self.forward(interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN])
        return (query * self.output_rows(interaction[self.ITEM_ID])).sum(dim=1)

    def full_sort_predict(self, interaction: Any) -> Tensor:
        """The scores of all items, [B, N + 1]."""
        return self.forward(interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN]) @ self.output_table.T
