"""Sparse gradients for the item embeddings of large catalogues, where a step looks up few of their rows.

A dense step reads and writes every row and both of Adam's moments: at a million items of 64 numbers that is most of the
step. Sparse rows need ``SparseAdam``, whose moments stay where they are for rows that a step does not touch.
"""

from collections.abc import Iterable
from typing import Any

from torch import nn
from torch.optim import Adam, Optimizer, SparseAdam

SPARSE_FROM = 100_000  # items; below, a dense step costs little, and it is RecBole's


def use_sparse_rows(embeddings: Iterable[nn.Embedding]) -> list[nn.Parameter]:
    """Let the embeddings give sparse gradients.

    Returns:
        Their ID parameters.
    """
    parameters = []
    for embedding in embeddings:
        embedding.sparse = True
        fused: Any = getattr(embedding, "parametrizations", None)
        own: Any = fused.weight.original if fused else embedding.weight
        parameters.append(own)
    return parameters


class AdamWithSparseRows(Optimizer):
    """Adam for dense parameters and SparseAdam for sparse ones, as one optimizer.

    Args:
        dense: parameters with dense gradients.
        sparse: parameters with sparse gradients.
        learning_rate: the learning rate of both.

    Attributes:
        sparse: as given.
    """

    def __init__(self, dense: list[nn.Parameter], sparse: list[nn.Parameter], learning_rate: float) -> None:
        self.sparse = sparse
        self.parts: tuple[Optimizer, Optimizer] = (Adam(dense, lr=learning_rate), SparseAdam(sparse, lr=learning_rate))
        super().__init__([*dense, *sparse], {"lr": learning_rate})
        self.param_groups = [group for part in self.parts for group in part.param_groups]  # a schedule reaches both

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One step of both."""
        if closure is not None:
            raise ValueError("AdamWithSparseRows takes no closure")
        for part in self.parts:
            part.step()

    def state_dict(self) -> dict[str, Any]:
        """The states of both."""
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Put the states of both back."""
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self.param_groups = [group for part in self.parts for group in part.param_groups]
