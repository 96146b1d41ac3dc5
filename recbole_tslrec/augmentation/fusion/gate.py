"""The paper's "simple gating mechanism", per element (the default)."""

import torch
from torch import Tensor, nn


class GateFusion(nn.Module):
    """x = g * e + (1 - g) * p with g = sigmoid(Linear(2d -> d)([e; p])).

    The paper does not print the gate; this form is our choice.
    """

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.gate = nn.Linear(2 * dimension, dimension)
        nn.init.zeros_(self.gate.bias)

    def forward(self, id_embedding: Tensor, knowledge: Tensor) -> Tensor:
        """ID embeddings and projected knowledge, both [N, d] -> [N, d]."""
        g = torch.sigmoid(self.gate(torch.cat([id_embedding, knowledge], dim=-1)))  # [N, d]
        return g * id_embedding + (1 - g) * knowledge

    def knowledge_scale(self, std: float) -> float:
        """g starts at 1/2, and a quarter of std^2 and of 3 std^2 make std^2."""
        return float(3**0.5 * std)
