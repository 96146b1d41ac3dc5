"""What decides how knowledge and categories are exported and fused (Section 4.2)."""

from dataclasses import dataclass
from typing import Any

import torch

from recbole_tslrec.augmentation.fusion import FUSIONS
from recbole_tslrec.compute.precision import DTYPES, computes_in_bfloat16, named_dtype
from recbole_tslrec.settings import ConfigError, Settings, setting
from recbole_tslrec.settings.base import optional_positive_integer, positive_integer


def known_fusion(key: str, value: Any) -> None:
    """Refuse what is none of :data:`recbole_tslrec.augmentation.fusion.FUSIONS`."""
    if value not in FUSIONS:
        raise ConfigError(f"{key} [{value}] is not one of {', '.join(FUSIONS)}")


@dataclass(frozen=True)
class KnowledgeFusionSettings(Settings):
    """How item vectors are fused into the item embeddings of a TSLRec model."""

    fusion_type: str = setting(check=known_fusion)
    """(str) How knowledge joins the item embedding."""
    fusion_pca_dimension: int | None = setting(check=optional_positive_integer)
    """(int) How many principal components of the vectors are fused; ``None`` takes the vectors as they are."""
    id_init: str = setting(choices=("random", "knowledge"))
    """(str) Where the ID embeddings start: as the backbone draws them, or from the vectors."""


@dataclass(frozen=True)
class CategoryFusionSettings(Settings):
    """How category embeddings are fused into the item embeddings of a CI model."""

    ci_fusion_type: str = setting(check=known_fusion)
    """(str) How a category's embedding joins the item embedding."""


@dataclass(frozen=True)
class ExportSettings(Settings):
    """How every item is put through the LLM alone."""

    export_dtype: str = setting(choices=("auto", *DTYPES))
    """(str) Floating-point type; auto: bfloat16 where the device computes in it."""
    export_pooling: str = setting(choices=("last", "mean"))
    """(str) The paper's last token, or the mean over the item's own."""
    export_context: str = setting(choices=("single", "users"))
    """(str) The paper's prompt of one item, or users' histories up to the item."""
    export_batch_size: int = setting(check=positive_integer, neutral="each prompt is computed independently")
    """(int) Items per forward pass."""
    llm_dtype: str = setting(choices=("auto", *DTYPES))
    """(str) Floating-point type of fine-tuning, which ``export_dtype`` auto may fall back to."""
    device: Any = setting(neutral="the type in which it computes is in the recipe")
    """(torch.device) Where the export runs."""

    @property
    def dtype(self) -> torch.dtype:
        """The floating-point type of the export."""
        if self.export_dtype == "auto":
            computes = computes_in_bfloat16(self.device)
            return torch.bfloat16 if computes else named_dtype(self.llm_dtype, self.device)
        return DTYPES[self.export_dtype]

    def recipe(self) -> dict[str, Any]:
        """With the type that ``auto`` means on this device."""
        return {**super().recipe(), "export_dtype": str(self.dtype).removeprefix("torch.")}
