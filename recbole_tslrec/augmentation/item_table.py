"""The item table that a backbone sees: its own ID embeddings fused with knowledge (Section 4.2) or categories (CI).

The table is a parametrization of ``item_embedding.weight``: the backbone's code, which looks rows up in the embedding
and multiplies with its weight, stays as it is.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize

from recbole_tslrec.augmentation.fusion import FUSIONS
from recbole_tslrec.augmentation.projection import KnowledgeProjection


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

    @property
    def item_rows(self) -> int:
        """N + 1."""
        return len(self.groups)

    def forward(self) -> Tensor:
        """-> [N + 1, d]."""
        embedded: Tensor = self.embedding(self.groups)
        return embedded

    def rows(self, ids: Tensor) -> Tensor:
        """The rows of ``ids`` [n] only -> [n, d]."""
        embedded: Tensor = self.embedding(self.groups[ids])
        return embedded


class FusedItemTable(nn.Module):
    """The parametrization: ID embeddings [N + 1, d] -> fused table [N + 1, d], its pad row zero.

    Rows of the ID embeddings beyond the items (BERT4Rec's mask) stay as they are.

    Without gradients and in evaluation mode, the table is kept until a tensor that it is made of changes, so that a
    whole evaluation computes it once (tensor versions tell; a write through ``.data`` escapes them). In training,
    ``torch.nn.utils.parametrize.cached`` around a step does that.

    Attributes:
        rows_only: whether a lookup with gradients fuses the rows that it looks up, and no table. For losses that score
            a few sampled items; set it after construction.
    """

    def __init__(self, source: KnowledgeProjection | CategoryEmbedding, fusion: nn.Module) -> None:
        super().__init__()
        self.source = source
        self.fusion = fusion
        self.rows_only = False
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
        items = self.source.item_rows
        fused: Tensor = self.fusion(id_embedding[:items], self.source())
        is_item = torch.ones_like(fused[:, :1])
        is_item[0] = 0
        return torch.cat([fused * is_item, id_embedding[items:]]) if len(id_embedding) > items else fused * is_item

    def fuse_rows(self, id_rows: Tensor, ids: Tensor) -> Tensor:
        """The rows ``ids`` [n] of the table, from the ID embeddings [n, d] of these ids -> [n, d]."""
        items = self.source.item_rows
        fused: Tensor = self.fusion(id_rows, self.source.rows(ids.clamp_max(items - 1)))
        is_beyond = (ids >= items).unsqueeze(1)  # [n, 1]
        return torch.where(is_beyond, id_rows, fused * (ids > 0).unsqueeze(1))


class FusedEmbedding(nn.Embedding):
    """An embedding whose weight is a fused table; it knows how to look rows up without the table."""

    def forward(self, input: Tensor) -> Tensor:
        """Ids of any shape [...] -> [..., d]."""
        parametrizations: Any = self.parametrizations
        table: FusedItemTable = parametrizations.weight[0]
        if not (table.rows_only and torch.is_grad_enabled()):
            return super().forward(input)
        ids, places = torch.unique(input, return_inverse=True)
        id_rows = functional.embedding(ids, parametrizations.weight.original, sparse=self.sparse)
        return functional.embedding(places, table.fuse_rows(id_rows, ids))


class IdRegularisation(nn.Module):
    """A backbone's L2 loss on its weights, which sees the ID embeddings where the backbone hands it the fused table."""

    def __init__(self, loss: nn.Module, embedding: nn.Embedding) -> None:
        super().__init__()
        self.loss = loss
        self._embedding = (embedding,)  # in a tuple: the embedding is the backbone's child, not this module's

    def forward(self, *weights: Tensor | Iterable[Tensor], **options: Any) -> Tensor:
        """The loss over ``weights``: tensors, as RecBole's ``EmbLoss`` takes, or a list of them, as its ``RegLoss``."""
        embedding: Any = self._embedding[0]
        fused, own = embedding.weight, embedding.parametrizations.weight.original

        def of_ids(weight: Tensor) -> Tensor:
            return own if weight is fused else weight

        kept = [of_ids(each) if isinstance(each, Tensor) else [of_ids(weight) for weight in each] for each in weights]
        loss: Tensor = self.loss(*kept, **options)
        return loss


def fuse_item_embedding(
    embedding: nn.Embedding, source: KnowledgeProjection | CategoryEmbedding, fusion_type: str
) -> None:
    """Put a fused table in the place of ``embedding.weight``, at the scale of the embedding's own initialisation.

    Args:
        embedding: the backbone's initialised item embedding [N + 1, d], or longer where it has more than items.
        source: what is fused in.
        fusion_type: a key of :data:`recbole_tslrec.augmentation.fusion.FUSIONS`.
    """
    fusion: Any = FUSIONS[fusion_type](embedding.embedding_dim)
    own_scale = float(embedding.weight[1:].detach().std())
    source.reset_scale(fusion.knowledge_scale(own_scale))
    if type(embedding) is nn.Embedding:  # somebody's own subclass keeps its lookup, through the table
        embedding.__class__ = FusedEmbedding
    parametrize.register_parametrization(embedding, "weight", FusedItemTable(source, fusion))
