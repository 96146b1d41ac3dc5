"""No gate: the plain sum."""

from torch import Tensor, nn


class SumFusion(nn.Module):
    """x = e + p. The knowledge starts at zero, so that training starts from the plain backbone."""

    def __init__(self, dimension: int) -> None:
        super().__init__()

    def forward(self, id_embedding: Tensor, knowledge: Tensor) -> Tensor:
        """ID embeddings and projected knowledge, both [N, d] -> [N, d]."""
        return id_embedding + knowledge

    def knowledge_scale(self, std: float) -> float:
        """The ID embeddings alone have the wanted scale."""
        return 0.0
