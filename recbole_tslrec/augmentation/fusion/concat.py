"""Concatenate and project."""

import torch
from torch import Tensor, nn


class ConcatFusion(nn.Module):
    """x = Linear(2d -> d)([e; p])."""

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.projection = nn.Linear(2 * dimension, dimension)
        # 2d inputs of variance std^2 times weights of variance 1 / 2d make std^2
        nn.init.normal_(self.projection.weight, std=(2 * dimension) ** -0.5)
        nn.init.zeros_(self.projection.bias)

    def forward(self, id_embedding: Tensor, knowledge: Tensor) -> Tensor:
        """ID embeddings and projected knowledge, both [N, d] -> [N, d]."""
        fused: Tensor = self.projection(torch.cat([id_embedding, knowledge], dim=-1))
        return fused

    def knowledge_scale(self, std: float) -> float:
        """Both halves start alike."""
        return std
