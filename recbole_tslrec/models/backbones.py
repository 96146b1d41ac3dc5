"""The backbones: one record for each sequential model, with all that has to be known to train, fuse and serve it.

RecBole's models share a way of being written, not an interface. What differs between them is said here, once.
"""

from dataclasses import dataclass
from typing import Any

from recbole.model import sequential_recommender

from recbole_tslrec.models.bsarec import BSARec
from recbole_tslrec.models.caser import Caser
from recbole_tslrec.models.fmlprec import FMLPRec
from recbole_tslrec.models.hstu import HSTU
from recbole_tslrec.models.ligr import LiGR
from recbole_tslrec.models.lrurec import LRURec
from recbole_tslrec.models.recbole_fixes import CORE, SHAN, GRU4RecCPR, RepeatNet, S3Rec, SASRecCPR
from recbole_tslrec.models.sasrec import SASRec
from recbole_tslrec.models.scoring import (
    BERT4REC_SCORES,
    CASER_SCORES,
    CORE_SCORES,
    FOSSIL_SCORES,
    FPMC_SCORES,
    HGN_SCORES,
    HRM_SCORES,
    NEXTITNET_SCORES,
    NPE_SCORES,
    PRODUCT,
    S3REC_SCORES,
    SHAN_SCORES,
    Scoring,
)
from recbole_tslrec.models.wearec import WEARec
from recbole_tslrec.sequential.loaders import KnowledgeGraphPrefixDataset
from recbole_tslrec.sequential.prefixes import PrefixDataset
from recbole_tslrec.sequential.training_mode import trainable

HOME = "recbole_tslrec.models"  # the module of all named classes: pickle finds them there
_SESSION_GRAPH = "it builds the graph of each session in numpy"


@dataclass(frozen=True)
class Backbone:
    """What this package knows of one sequential model.

    Attributes:
        base: the class: RecBole's, or that of this package where RecBole's is wrong, slower or missing.
        fused: what the fused table does in the model, for the table in the documentation.
        tables: the embeddings that are fused, the first of them for the input. Each has a fusion of its own.
        scoring: how scores are made of a sequence's vector and an item table; ``None`` where they are not.
        plain_loss: the loss is that of these scores and nothing more, so that ``loss_type`` may be one of this package.
        own: RecBole does not have this network, so that there are no results of RecBole to keep to the last digit.
        causal: position t of the network sees the items up to t only and is read through ``gather_indexes``, so that
            ``train_mode: all_positions`` can train all of them at once.
        knows_users: has an embedding per user, so that new users cannot be served.
        dataset: the dataset class that gives its training rows; ``None`` leaves it to RecBole.
        not_traceable: why ONNX cannot express it; empty where it can.
        unlisted_keys: configuration keys that its constructor reads and no yaml file of RecBole lists.
    """

    base: type | None = None
    fused: str = "input and output"
    tables: tuple[str, ...] = ("item_embedding",)
    scoring: Scoring | None = None
    plain_loss: bool = False
    own: bool = False
    causal: bool = False
    knows_users: bool = False
    dataset: type | None = PrefixDataset
    not_traceable: str = ""
    unlisted_keys: tuple[str, ...] = ()

    @property
    def dot(self) -> bool:
        """Whether scores are ``forward(item_seq, item_seq_len) @ output_table.T`` and nothing more."""
        return self.scoring is PRODUCT

    def trainable(self, model: type) -> type:
        """``model``, of this backbone, with ``train_mode`` and the losses of this package."""
        return trainable(model, self.dot, self.plain_loss, self.own, self.causal)


_PRODUCT: dict[str, Any] = {"scoring": PRODUCT, "plain_loss": True}
_OWN: dict[str, Any] = {**_PRODUCT, "own": True}

BACKBONES: dict[str, Backbone] = {
    "BERT4Rec": Backbone(
        sequential_recommender.BERT4Rec, "input and output; the mask row is the ID's own", scoring=BERT4REC_SCORES
    ),
    "BSARec": Backbone(BSARec, **_OWN),
    "Caser": Backbone(
        Caser, "input and output; its L2 loss keeps to the ID part", scoring=CASER_SCORES, knows_users=True
    ),
    "CORE": Backbone(CORE, "input and output, normalised as CORE does", scoring=CORE_SCORES),
    "FDSA": Backbone(
        sequential_recommender.FDSA, "item stream and output; the feature stream is not", **_PRODUCT, causal=True
    ),
    "FEARec": Backbone(
        sequential_recommender.FEARec,
        scoring=PRODUCT,
        dataset=None,  # it looks list columns of the whole dataset up while it trains
        not_traceable="it picks frequencies of a Fourier transform one by one",
        unlisted_keys=("contrast", "tau", "sim"),
    ),
    "FMLPRec": Backbone(FMLPRec, **_OWN),
    "FOSSIL": Backbone(
        sequential_recommender.FOSSIL,
        "input and output; its L2 loss is on the fused rows of a batch",
        scoring=FOSSIL_SCORES,
        knows_users=True,
    ),
    "FPMC": Backbone(
        sequential_recommender.FPMC,
        "last item, and both output tables",
        ("LI_emb", "IL_emb", "IU_emb"),
        scoring=FPMC_SCORES,
        knows_users=True,
    ),
    "GCSAN": Backbone(
        sequential_recommender.GCSAN,
        "input and output; its L2 loss keeps to the ID part",
        scoring=PRODUCT,
        not_traceable=_SESSION_GRAPH,
    ),
    "GRU4Rec": Backbone(sequential_recommender.GRU4Rec, **_PRODUCT, causal=True),
    "GRU4RecCPR": Backbone(GRU4RecCPR, "input, output, reranked and copied items"),
    "GRU4RecF": Backbone(
        sequential_recommender.GRU4RecF, "item stream and output; the feature stream is not", **_PRODUCT, causal=True
    ),
    "GRU4RecKG": Backbone(
        sequential_recommender.GRU4RecKG,
        "item stream and output; the entity stream is not",
        **_PRODUCT,
        causal=True,
        dataset=KnowledgeGraphPrefixDataset,
    ),
    "HGN": Backbone(
        sequential_recommender.HGN,
        "input and output, two tables; its L2 loss is on the fused rows of a batch",
        ("item_embedding", "item_embedding_for_prediction"),
        scoring=HGN_SCORES,
        knows_users=True,
    ),
    "HRM": Backbone(sequential_recommender.HRM, scoring=HRM_SCORES, knows_users=True),
    "HSTU": Backbone(HSTU, **_OWN, causal=True),
    "LightSANs": Backbone(sequential_recommender.LightSANs, **_PRODUCT),
    "LiGR": Backbone(LiGR, **_OWN, causal=True),
    "LRURec": Backbone(LRURec, "input and output; the items' biases are not", **_OWN, causal=True),
    "NARM": Backbone(sequential_recommender.NARM, **_PRODUCT),
    "NextItNet": Backbone(
        sequential_recommender.NextItNet,
        "input and output; its L2 loss keeps to the ID part",
        scoring=NEXTITNET_SCORES,
    ),
    "NPE": Backbone(
        sequential_recommender.NPE,
        "input and output, before its ReLU; pads add nothing",
        scoring=NPE_SCORES,
        knows_users=True,
    ),
    "RepeatNet": Backbone(
        RepeatNet,
        "input; scores come from the copied items and a layer of its own",
        ("item_matrix",),
    ),
    "S3Rec": Backbone(S3Rec, "input and output in both phases; the mask row is the ID's own", scoring=S3REC_SCORES),
    "SASRec": Backbone(SASRec, **_PRODUCT, causal=True),
    "SASRecCPR": Backbone(SASRecCPR, "input, output, reranked and copied items"),
    "SASRecF": Backbone(
        sequential_recommender.SASRecF,
        "item part of the input, and output; features are not",
        **_PRODUCT,
        causal=True,
    ),
    "SHAN": Backbone(
        SHAN,
        "input and output; its L2 loss is on the fused rows of a batch",
        scoring=SHAN_SCORES,
        knows_users=True,
    ),
    "SINE": Backbone(sequential_recommender.SINE, **_PRODUCT),
    "SRGNN": Backbone(sequential_recommender.SRGNN, **_PRODUCT, not_traceable=_SESSION_GRAPH),
    "STAMP": Backbone(sequential_recommender.STAMP, **_PRODUCT),
    "TransRec": Backbone(sequential_recommender.TransRec, "last item, and output by distance", knows_users=True),
    "WEARec": Backbone(WEARec, **_OWN),
}

REFUSED: dict[str, str] = {
    "DIN": "it embeds items inside a layer over all features, so there is no item table to fuse",
    "DIEN": "it embeds items inside a layer over all features, so there is no item table to fuse",
    "KSR": "it does not run in RecBole 1.2.1 itself",
}


def backbone_class(name: str) -> type:
    """The class that the models of a backbone are made of; it knows ``train_mode`` and the losses of this package."""
    backbone = BACKBONES[name]
    assert backbone.base is not None  # of every named one
    trained = backbone.trainable(backbone.base)
    trained.__module__ = HOME
    return trained


def backbone_of(model: type) -> Backbone:
    """The record of a model class, fused or not; an empty one for a user's own class, whatever it is made from."""
    for base in model.__mro__:
        if base.__module__.split(".")[0] not in ("recbole", "recbole_tslrec"):
            return Backbone()
        if base.__name__ in BACKBONES:
            return BACKBONES[base.__name__]
    return Backbone()


def table_of_backbones() -> str:
    """:data:`BACKBONES` as the table of docs/models.md."""
    head = ("backbone", "what is fused", "sampled `loss_type`", "`all_positions`", "new users")
    rows = [
        (
            name,
            f"{backbone.fused} (`{'`, `'.join(backbone.tables)}`)",
            _yes(backbone.dot and backbone.plain_loss),
            _yes(backbone.causal),
            _yes(not backbone.knows_users),
        )
        for name, backbone in BACKBONES.items()
    ]
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _yes(it_is: bool) -> str:
    return "yes" if it_is else "no"
