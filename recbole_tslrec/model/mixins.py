"""What turns a RecBole sequential model into its CI or TSLRec variant, once the backbone has been built."""

from collections.abc import Callable
from typing import Any, ClassVar

from torch import nn

from recbole_tslrec.augmentation.item_table import (
    CategoryEmbedding,
    IdRegularisation,
    fuse_item_embedding,
)
from recbole_tslrec.augmentation.knowledge import fusion_knowledge, load_groups
from recbole_tslrec.augmentation.projection import KnowledgeProjection
from recbole_tslrec.random_stream import own_random_stream


class FusedItemsMixin:
    """A model whose item embeddings are fused tables, each computed once a training step.

    Attributes:
        fused_tables: the names of the embeddings; the first is the input's.
    """

    fused_tables: ClassVar[tuple[str, ...]] = ("item_embedding",)

    def fuse_items(
        self: Any,
        make_source: Callable[[int], KnowledgeProjection | CategoryEmbedding],
        fusion_type: str,
        item_rows: int,
    ) -> None:
        """Fuse into every item embedding; an L2 loss of the backbone on whole tables keeps to the ID part.

        Args:
            make_source: makes what is fused into an embedding of the given width.
            fusion_type: a key of :data:`recbole_tslrec.augmentation.fusion.FUSIONS`.
            item_rows: N + 1.

        Raises:
            ValueError: the model has no such embeddings, or there is no such fusion.
        """
        for name in self.fused_tables:
            embedding: Any = _item_table(self, name, item_rows)
            fuse_item_embedding(embedding, make_source(embedding.embedding_dim), fusion_type)
            fused: Any = embedding.parametrizations
            fused.weight[0].rows_only = getattr(self, "samples_items", False)
            if isinstance(getattr(self, "reg_loss", None), nn.Module):  # where it is a method, it sees looked-up rows
                self.reg_loss = IdRegularisation(self.reg_loss, embedding)
        if hasattr(self, "load_pretrained"):  # S3Rec: what the fusion learned in the first phase has its place now
            self.load_pretrained()


class KnowledgeMixin(FusedItemsMixin):
    """Reads ``knowledge_path`` (a ``knowledge`` artifact or item vectors), ``fusion_input``, ``fusion_type`` and
    ``fusion_projection``.

    The new modules draw from a random stream of their own, so that the backbone starts and drops out as it would
    without them.
    """

    def __init__(self, config: Any, dataset: Any) -> None:
        _check_path(config, "knowledge_path", "a knowledge artifact")
        super().__init__(config, dataset)  # type: ignore[call-arg]
        with own_random_stream(config["seed"]):
            knowledge, trained = fusion_knowledge(config, dataset), config["fusion_projection"] != "frozen"
            self.fuse_items(
                lambda dimension: KnowledgeProjection(knowledge, dimension, trained),
                config["fusion_type"],
                len(knowledge.rows),
            )


class CategoryMixin(FusedItemsMixin):
    """Reads ``groups_path`` (a ``groups`` artifact) and ``ci_fusion_type``."""

    def __init__(self, config: Any, dataset: Any) -> None:
        _check_path(config, "groups_path", "a groups artifact")
        super().__init__(config, dataset)  # type: ignore[call-arg]
        groups, group_count = load_groups(config["groups_path"], dataset)
        with own_random_stream(config["seed"]):
            self.fuse_items(
                lambda dimension: CategoryEmbedding(groups, group_count, dimension),
                config["ci_fusion_type"],
                len(groups),
            )


def _check_path(config: Any, key: str, what: str) -> None:
    if not config[key]:
        raise ValueError(
            f"{config['model']} needs {what}: set {key}=<folder>, or let run_recbole_tslrec.py make it on the way"
        )


def _item_table(model: nn.Module, name: str, item_rows: int) -> nn.Embedding:
    embedding = getattr(model, name, None)
    if isinstance(embedding, nn.Embedding) and embedding.num_embeddings >= item_rows:
        return embedding
    backbone = next(cls.__name__ for cls in type(model).__mro__[1:] if not issubclass(cls, FusedItemsMixin))
    named = dict(model.named_modules()).items()
    fitting = [key for key, it in named if isinstance(it, nn.Embedding) and it.num_embeddings >= item_rows]
    raise ValueError(
        f"{backbone} has no nn.Embedding [{name}] with a row for each of {item_rows} item ids; name its item tables: "
        f"with_knowledge({backbone}, tables=(...)); embeddings that are large enough: {', '.join(fitting) or 'none'}"
    )
