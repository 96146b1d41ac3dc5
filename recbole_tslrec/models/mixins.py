"""What turns a RecBole sequential model into its CI or TSLRec variant, once the backbone has been built."""

from collections.abc import Callable
from typing import Any, ClassVar

from torch import nn

from recbole_tslrec.augmentation.id_initialisation import start_from_components
from recbole_tslrec.augmentation.item_table import (
    CategoryEmbedding,
    IdRegularisation,
    fuse_item_embedding,
)
from recbole_tslrec.augmentation.knowledge import Knowledge, fusion_knowledge
from recbole_tslrec.augmentation.projection import KnowledgeProjection
from recbole_tslrec.augmentation.settings import CategoryFusionSettings, KnowledgeFusionSettings
from recbole_tslrec.compute.random_state import isolated_random_state
from recbole_tslrec.data.groupings import Grouping, load_groups
from recbole_tslrec.settings import ConfigError


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
            ValueError: the model has no such embeddings.
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
    """Fuses knowledge: what it is given, or what ``knowledge_path`` names (a ``knowledge`` artifact or item vectors).

    The new modules draw from a random state of their own, so that the backbone starts and drops out as it would
    without them.
    """

    def __init__(self: Any, config: Any, dataset: Any, knowledge: Knowledge | None = None) -> None:
        settings = KnowledgeFusionSettings.of(config)
        if knowledge is None:
            path = _path(config, "knowledge_path", "a knowledge artifact")
            knowledge = fusion_knowledge(path, dataset, settings, config["seed"])
        super().__init__(config, dataset)  # type: ignore[call-arg]
        if settings.id_init == "knowledge":
            for name in self.fused_tables:
                start_from_components(_item_table(self, name, len(knowledge.rows)), knowledge, config["seed"])
        with isolated_random_state(config["seed"]):
            self.fuse_items(
                lambda dimension: KnowledgeProjection(knowledge, dimension),
                settings.fusion_type,
                len(knowledge.rows),
            )


class CategoryMixin(FusedItemsMixin):
    """Fuses categories: what it is given, or what ``groups_path`` names (a ``groups`` artifact)."""

    def __init__(self, config: Any, dataset: Any, grouping: Grouping | None = None) -> None:
        settings = CategoryFusionSettings.of(config)
        if grouping is None:
            grouping = load_groups(_path(config, "groups_path", "a groups artifact"), dataset).with_pad()
        super().__init__(config, dataset)  # type: ignore[call-arg]
        with isolated_random_state(config["seed"]):
            self.fuse_items(
                lambda dimension: CategoryEmbedding(*grouping, dimension),
                settings.ci_fusion_type,
                len(grouping.groups),
            )


def _path(config: Any, key: str, what: str) -> Any:
    if not config[key]:
        raise ConfigError(
            f"{config['model']} needs {what}: set {key}=<folder>, or let python -m recbole_tslrec "
            f"--model={config['model']} make it"
        )
    return config[key]


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
