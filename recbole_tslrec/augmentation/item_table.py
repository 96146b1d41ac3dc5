"""The item table that a backbone sees: its own ID embeddings fused with knowledge (Section 4.2) or categories (CI).

The table is a parametrization of ``item_embedding.weight``: the backbone's code, which looks rows up in the embedding
and multiplies with its weight, stays as it is.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from recbole_tslrec.augmentation.fusion import FUSIONS, check_fusion_type


class KnowledgeProjection(nn.Module):
    """p_v = Linear(H -> d)(h^v) for every item.

    The knowledge rows are frozen and standardised once: centred, and divided so that their root-mean-square norm is 1.
    A linear layer can undo both, so nothing is lost; but the step size and the start no longer depend on the scale of
    the LLM's hidden states, nor on the large component that they all share.

    Args:
        knowledge: h, [N + 1, H]; row 0 is the pad.
        dimension: d.
    """

    knowledge: Tensor

    def __init__(self, knowledge: Tensor, dimension: int) -> None:
        super().__init__()
        self.register_buffer("knowledge", standardise(knowledge))
        self.linear = nn.Linear(knowledge.shape[1], dimension)

    def reset_scale(self, std: float) -> None:
        """Start with projected knowledge of standard deviation ``std``: rows of norm 1 keep that of the weights."""
        nn.init.normal_(self.linear.weight, std=std)
        nn.init.zeros_(self.linear.bias)

    def forward(self) -> Tensor:
        """-> [N + 1, d]."""
        projected: Tensor = self.linear(self.knowledge)
        return projected


class CategoryEmbedding(nn.Module):
    """The learnable embedding of each item's preliminary category: the paper's "+CI".

    Args:
        groups: the category of every item, int64 [N + 1]; row 0 is the pad.
        group_count: K.
        dimension: d.
    """

    groups: Tensor

    def __init__(self, groups: Tensor, group_count: int, dimension: int) -> None:
        super().__init__()
        self.register_buffer("groups", groups)
        self.embedding = nn.Embedding(group_count, dimension)

    def reset_scale(self, std: float) -> None:
        """Start with embeddings of standard deviation ``std``."""
        nn.init.normal_(self.embedding.weight, std=std)

    def forward(self) -> Tensor:
        """-> [N + 1, d]."""
        embedded: Tensor = self.embedding(self.groups)
        return embedded


def standardise(knowledge: Tensor) -> Tensor:
    """Centre the items' rows of [N + 1, H] and scale their root-mean-square norm to 1; the pad row 0 becomes zero."""
    items = knowledge[1:].double()
    items = items - items.mean(dim=0)
    norm = items.square().sum(dim=1).mean().sqrt()
    items = items / norm.clamp_min(torch.finfo(torch.float64).tiny)
    return torch.cat([items.new_zeros(1, items.shape[1]), items]).to(torch.float32)


class FusedItemTable(nn.Module):
    """The parametrization: ID embeddings [N + 1, d] -> fused table [N + 1, d], its pad row zero.

    Without gradients and in evaluation mode, the table is kept until a tensor that it is made of changes, so that a
    whole evaluation computes it once (tensor versions tell; a write through ``.data`` escapes them). In training,
    ``torch.nn.utils.parametrize.cached`` around a step does that.
    """

    def __init__(self, source: KnowledgeProjection | CategoryEmbedding, fusion: nn.Module) -> None:
        super().__init__()
        self.source = source
        self.fusion = fusion
        self._table: Tensor | None = None
        self._made_of: list[tuple[int, int]] = []

    def forward(self, id_embedding: Tensor) -> Tensor:
        """[N + 1, d] -> [N + 1, d]."""
        if self.training or torch.is_grad_enabled():
            self._table = None
            return self.fuse(id_embedding)
        made_of = [(t.data_ptr(), t._version) for t in (id_embedding, *self.parameters(), *self.buffers())]
        if self._table is None or made_of != self._made_of:
            self._table, self._made_of = self.fuse(id_embedding), made_of
        return self._table

    def fuse(self, id_embedding: Tensor) -> Tensor:
        """Compute the table anew."""
        fused: Tensor = self.fusion(id_embedding, self.source())
        is_item = torch.ones_like(fused[:, :1])
        is_item[0] = 0
        return fused * is_item


class IdRegularisation(nn.Module):
    """A backbone's L2 loss on its weights, which sees the ID embeddings where the backbone hands it the fused table."""

    def __init__(self, loss: nn.Module, embedding: nn.Embedding) -> None:
        super().__init__()
        self.loss = loss
        self._embedding = (embedding,)  # in a tuple: the embedding is the backbone's child, not this module's

    def forward(self, weights: Iterable[Tensor]) -> Tensor:
        """The loss over ``weights``."""
        embedding: Any = self._embedding[0]
        fused, own = embedding.weight, embedding.parametrizations.weight.original
        loss: Tensor = self.loss([own if weight is fused else weight for weight in weights])
        return loss


def fuse_item_embedding(
    embedding: nn.Embedding, source: KnowledgeProjection | CategoryEmbedding, fusion_type: str
) -> None:
    """Put a fused table in the place of ``embedding.weight``, at the scale of the embedding's own initialisation.

    Args:
        embedding: the backbone's initialised item embedding [N + 1, d].
        source: what is fused in.
        fusion_type: a key of :data:`recbole_tslrec.augmentation.fusion.FUSIONS`.

    Raises:
        ValueError: there is no such fusion.
    """
    check_fusion_type(fusion_type)
    fusion: Any = FUSIONS[fusion_type](embedding.embedding_dim)
    own_scale = float(embedding.weight[1:].detach().std())
    source.reset_scale(fusion.knowledge_scale(own_scale))
    parametrize.register_parametrization(embedding, "weight", FusedItemTable(source, fusion))
