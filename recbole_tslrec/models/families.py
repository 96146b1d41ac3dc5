"""What may be fused into the item embeddings of any backbone: nothing (Base), categories (CI) or knowledge (TSLRec)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from recbole_tslrec.augmentation.knowledge import Knowledge, fusion_knowledge
from recbole_tslrec.augmentation.settings import CategoryFusionSettings, KnowledgeFusionSettings
from recbole_tslrec.data.groupings import Grouping, load_groups
from recbole_tslrec.models.mixins import CategoryMixin, FusedItemsMixin, KnowledgeMixin
from recbole_tslrec.settings import Settings
from recbole_tslrec.store.artifacts import Artifact


@dataclass(frozen=True)
class Family:
    """One way to make a model of a backbone.

    Attributes:
        name: the name of its row in a table.
        prefix: in front of the backbone's name.
        about: what its models are, for their docstrings.
        mixin: what is put over the backbone's class; ``None`` leaves the backbone as it is.
        table: the kind of artifact that is fused; empty for none.
        settings: how it is fused.
        load: artifact, RecBole dataset, settings and seed -> what the models' constructors take as third argument.
        aliases: other prefixes.
        default_backbone: the backbone of the bare prefix; where there is one, an LLM ranks, and models of the family
            are no recommenders of RecBole's kind.
    """

    name: str
    prefix: str
    about: str = ""
    mixin: type[FusedItemsMixin] | None = None
    table: str = ""
    settings: type[Settings] | None = None
    load: Callable[[Artifact, Any, Any, int], Any] | None = None
    aliases: tuple[str, ...] = ()
    default_backbone: str = ""

    @property
    def path_key(self) -> str:
        """The key by which users give the table themselves."""
        return f"{self.table}_path"


def _load_groups(table: Artifact, dataset: Any, settings: CategoryFusionSettings, seed: int) -> Grouping:
    return load_groups(table.folder, dataset).with_pad()


def _load_knowledge(table: Artifact, dataset: Any, settings: KnowledgeFusionSettings, seed: int) -> Knowledge:
    return fusion_knowledge(table.folder, dataset, settings, seed)


BASE = Family("Base", "")
CI = Family(
    "CI",
    "CI",
    "with the pre-grouping index as an item feature",
    CategoryMixin,
    "groups",
    CategoryFusionSettings,
    _load_groups,
)
TSLREC = Family(
    "TSLRec",
    "TSLRec",
    "with a gated item embedding",
    KnowledgeMixin,
    "knowledge",
    KnowledgeFusionSettings,
    _load_knowledge,
    aliases=("P2Rec",),  # the paper's name for it in the arXiv version of October 2024
)
E4SREC = Family("E4SRec", "E4SRec", default_backbone="SASRec")
LLAMAREC = Family("LlamaRec", "LlamaRec", default_backbone="LRURec")
P5 = Family("P5", "P5", default_backbone="SASRec")  # of which it reads nothing but the training rows
POD = Family("POD", "POD", default_backbone="SASRec")  # the same
LLM_BASELINES = {family.name: family for family in (E4SREC, LLAMAREC, P5, POD)}
FAMILIES = (BASE, CI, TSLREC)
FUSED_FAMILIES = tuple(family for family in FAMILIES if family.mixin)
PREFIXES = {prefix: family for family in (TSLREC, CI) for prefix in (family.prefix, *family.aliases)}
