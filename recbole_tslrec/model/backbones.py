"""The backbones: for each sequential model, which table is fused, and what else one has to know to train and serve it.

RecBole's models share a way of being written, not an interface. What differs between them is said here, once.
"""

from dataclasses import dataclass
from typing import Any

# TSLRec and P2Rec (its name in the arXiv version of October 2024) are one; CI is the paper's "+CI".
FAMILIES = ("TSLRec", "CI", "P2Rec")


@dataclass(frozen=True)
class Backbone:
    """What this package knows of one sequential model.

    Attributes:
        fused: what the fused table does in the model, for the table in the documentation.
        tables: the embeddings that are fused, the first of them for the input. Each has a fusion of its own.
        dot: scores are ``forward(item_seq, item_seq_len) @ item_embedding.weight.T`` and nothing more, so that ranks
            can be found in chunks of items.
        plain_loss: the loss is that of these scores and nothing more, so that ``loss_type`` may be one of ours.
        causal: position t of the network sees the items up to t only and is read through ``gather_indexes``, so that
            ``train_mode: all_positions`` can train all of them at once.
        knows_users: has an embedding per user, so that new users cannot be served.
    """

    fused: str = "input and output"
    tables: tuple[str, ...] = ("item_embedding",)
    dot: bool = False
    plain_loss: bool = False
    causal: bool = False
    knows_users: bool = False


_DOT: dict[str, Any] = {"dot": True, "plain_loss": True}

BACKBONES: dict[str, Backbone] = {
    "BERT4Rec": Backbone("input and output; the mask row is the ID's own"),
    "Caser": Backbone("input and output; its L2 loss keeps to the ID part", knows_users=True),
    "CORE": Backbone("input and output, normalised as CORE does"),
    "FDSA": Backbone("item stream and output; the feature stream is not", **_DOT, causal=True),
    "FEARec": Backbone(dot=True),
    "FMLPRec": Backbone(**_DOT),
    "FOSSIL": Backbone("input and output; its L2 loss is on the fused rows of a batch", knows_users=True),
    "FPMC": Backbone("last item, and both output tables", ("LI_emb", "IL_emb", "IU_emb"), knows_users=True),
    "GCSAN": Backbone("input and output; its L2 loss keeps to the ID part", dot=True),
    "GRU4Rec": Backbone(**_DOT, causal=True),
    "GRU4RecCPR": Backbone("input, output, reranked and copied items"),
    "GRU4RecF": Backbone("item stream and output; the feature stream is not", **_DOT, causal=True),
    "GRU4RecKG": Backbone("item stream and output; the entity stream is not", **_DOT, causal=True),
    "HGN": Backbone(
        "input and output, two tables; its L2 loss is on the fused rows of a batch",
        ("item_embedding", "item_embedding_for_prediction"),
        knows_users=True,
    ),
    "HRM": Backbone(knows_users=True),
    "LightSANs": Backbone(**_DOT),
    "NARM": Backbone(**_DOT),
    "NextItNet": Backbone("input and output; its L2 loss keeps to the ID part"),
    "NPE": Backbone("input and output, before its ReLU; pads add nothing", knows_users=True),
    "RepeatNet": Backbone("input; scores come from the copied items and a layer of its own", ("item_matrix",)),
    "S3Rec": Backbone("input and output in both phases; the mask row is the ID's own"),
    "SASRec": Backbone(**_DOT, causal=True),
    "SASRecCPR": Backbone("input, output, reranked and copied items"),
    "SASRecF": Backbone("item part of the input, and output; features are not", **_DOT, causal=True),
    "SHAN": Backbone("input and output; its L2 loss is on the fused rows of a batch", knows_users=True),
    "SINE": Backbone(**_DOT),
    "SRGNN": Backbone(**_DOT),
    "STAMP": Backbone(**_DOT),
    "TransRec": Backbone("last item, and output by distance", knows_users=True),
}

REFUSED: dict[str, str] = {
    "DIN": "it embeds items inside a layer over all features, so there is no item table to fuse",
    "DIEN": "it embeds items inside a layer over all features, so there is no item table to fuse",
    "KSR": "it does not run in RecBole 1.2.1 itself",
}


def backbone_name(model: type) -> str | None:
    """Which of :data:`BACKBONES` a model class is, fused or not; a user's own class, even one of these, is none."""
    for base in model.__mro__:
        if base.__module__.split(".")[0] not in ("recbole", "recbole_tslrec"):
            return None
        if base.__name__ in BACKBONES:
            return base.__name__
    return None


def backbone_of(model: type) -> Backbone:
    """What is known of a model class; nothing of a user's own."""
    name = backbone_name(model)
    return BACKBONES[name] if name else Backbone()


def table_of_backbones() -> str:
    """:data:`BACKBONES` as the table of docs/models.md."""
    head = ("backbone", "what is fused", "`loss_type` of ours", "`all_positions`", "new users")
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
