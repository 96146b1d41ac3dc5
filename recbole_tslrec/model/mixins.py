"""What turns a RecBole sequential model into its CI or TSLRec variant, once the backbone has been built."""

from typing import Any

from torch import Tensor
from torch.nn.utils import parametrize

from recbole_tslrec.augmentation.item_table import (
    CategoryEmbedding,
    IdRegularisation,
    fuse_item_embedding,
)
from recbole_tslrec.augmentation.knowledge import fusion_knowledge, load_groups
from recbole_tslrec.augmentation.projection import KnowledgeProjection
from recbole_tslrec.random_stream import own_random_stream


class FusedItemsMixin:
    """A model whose ``item_embedding`` is a fused table, computed once a training step."""

    def fuse_items(self: Any, source: KnowledgeProjection | CategoryEmbedding, fusion_type: str) -> None:
        """Fuse ``source`` into the item embedding; an L2 loss of the backbone keeps to the ID part."""
        fuse_item_embedding(self.item_embedding, source, fusion_type)
        if hasattr(self, "reg_loss"):
            self.reg_loss = IdRegularisation(self.reg_loss, self.item_embedding)

    def calculate_loss(self, interaction: Any) -> Tensor:
        """The backbone's loss, with one fused table for the input and the output."""
        with parametrize.cached():
            loss: Tensor = super().calculate_loss(interaction)  # type: ignore[misc]
        return loss


class KnowledgeMixin(FusedItemsMixin):
    """Reads ``knowledge_path`` (a ``knowledge`` artifact or item vectors), ``fusion_input`` and ``fusion_type``.

    The new modules draw from a random stream of their own, so that the backbone starts and drops out as it would
    without them.
    """

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)  # type: ignore[call-arg]
        _required_path(config, "knowledge_path", "a knowledge artifact")
        with own_random_stream(config["seed"]):
            dimension = self.item_embedding.embedding_dim  # type: ignore[attr-defined]
            source = KnowledgeProjection(fusion_knowledge(config, dataset), dimension)
            self.fuse_items(source, config["fusion_type"])


class CategoryMixin(FusedItemsMixin):
    """Reads ``groups_path`` (a ``groups`` artifact) and ``ci_fusion_type``."""

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)  # type: ignore[call-arg]
        folder = _required_path(config, "groups_path", "a groups artifact")
        groups, group_count = load_groups(folder, dataset)
        with own_random_stream(config["seed"]):
            dimension = self.item_embedding.embedding_dim  # type: ignore[attr-defined]
            self.fuse_items(CategoryEmbedding(groups, group_count, dimension), config["ci_fusion_type"])


def _required_path(config: Any, key: str, what: str) -> str:
    if not config[key]:
        raise ValueError(
            f"{config['model']} needs {what}: set {key}=<folder>, or let run_recbole_tslrec.py make it on the way"
        )
    return str(config[key])
