"""The models: RecBole's backbones, and each with category indices (CI) or with the LLM's knowledge (TSLRec)."""

from recbole.model.sequential_recommender import Caser, GRU4Rec, SASRec

from recbole_tslrec.model.fmlprec import FMLPRec
from recbole_tslrec.model.tslrec import (
    CICaser,
    CIFMLPRec,
    CIGRU4Rec,
    CISASRec,
    TSLRecCaser,
    TSLRecFMLPRec,
    TSLRecGRU4Rec,
    TSLRecSASRec,
)

# The arXiv version of October 2024 renames the method.
P2RecGRU4Rec = TSLRecGRU4Rec
P2RecCaser = TSLRecCaser
P2RecSASRec = TSLRecSASRec
P2RecFMLPRec = TSLRecFMLPRec

__all__ = [
    "CICaser",
    "CIFMLPRec",
    "CIGRU4Rec",
    "CISASRec",
    "Caser",
    "FMLPRec",
    "GRU4Rec",
    "P2RecCaser",
    "P2RecFMLPRec",
    "P2RecGRU4Rec",
    "P2RecSASRec",
    "SASRec",
    "TSLRecCaser",
    "TSLRecFMLPRec",
    "TSLRecGRU4Rec",
    "TSLRecSASRec",
]
