"""The named models: each a backbone with a fused item table that is put in after its ``__init__``."""

from recbole.model.sequential_recommender import Caser, GRU4Rec, SASRec

from recbole_tslrec.model.fmlprec import FMLPRec
from recbole_tslrec.model.mixins import CategoryMixin, KnowledgeMixin

# RecBole is untyped: mypy cannot see the bases.


class CIGRU4Rec(CategoryMixin, GRU4Rec):  # type: ignore[misc]
    """GRU4Rec with the pre-grouping index as an item feature."""


class CICaser(CategoryMixin, Caser):  # type: ignore[misc]
    """Caser with the pre-grouping index as an item feature."""


class CISASRec(CategoryMixin, SASRec):  # type: ignore[misc]
    """SASRec with the pre-grouping index as an item feature."""


class CIFMLPRec(CategoryMixin, FMLPRec):
    """FMLP-Rec with the pre-grouping index as an item feature."""


class TSLRecGRU4Rec(KnowledgeMixin, GRU4Rec):  # type: ignore[misc]
    """GRU4Rec with a gated item embedding."""


class TSLRecCaser(KnowledgeMixin, Caser):  # type: ignore[misc]
    """Caser with a gated item embedding."""


class TSLRecSASRec(KnowledgeMixin, SASRec):  # type: ignore[misc]
    """SASRec with a gated item embedding."""


class TSLRecFMLPRec(KnowledgeMixin, FMLPRec):
    """FMLP-Rec with a gated item embedding."""
