"""How an item's own ID embedding and its projected knowledge become one vector: one file per fusion.

A fusion is a module ``forward(id_embedding [N, d], knowledge [N, d]) -> [N, d]`` that tells, as
``knowledge_scale(std)``, which standard deviation the projected knowledge must have at initialisation for the fused
table to start at the scale ``std`` of the ID embeddings (up to the spread of a fresh linear layer).
"""

from typing import Protocol

from torch import Tensor, nn

from recbole_tslrec.augmentation.fusion.gate import GateFusion
from recbole_tslrec.augmentation.fusion.sum import SumFusion


class Fusion(Protocol):
    """What every fusion offers."""

    def __call__(self, id_embedding: Tensor, knowledge: Tensor) -> Tensor:
        """Two [N, d] -> [N, d]."""

    def knowledge_scale(self, std: float) -> float:
        """The standard deviation that the projected knowledge starts with."""


FUSIONS: dict[str, type[nn.Module]] = {
    "gate": GateFusion,
    "sum": SumFusion,
}


__all__ = ["FUSIONS", "Fusion", "GateFusion", "SumFusion"]
