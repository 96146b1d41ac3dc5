"""Settings of the export and of the fusion: what ``auto`` stands for, and which values are refused."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from recbole_tslrec.augmentation import settings
from recbole_tslrec.augmentation.settings import CategoryFusionSettings, ExportSettings, KnowledgeFusionSettings
from recbole_tslrec.settings import ConfigError, derive

MakeConfig = Callable[..., Any]


@pytest.mark.parametrize(("name", "dtype"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_named_type_is_that_of_the_export_on_every_device(
    make_config: MakeConfig, device: str, name: str, dtype: torch.dtype
) -> None:
    assert ExportSettings.of(derive(make_config(), device=device, export_dtype=name)).dtype == dtype


@pytest.mark.parametrize(("fast", "dtype"), [(True, torch.bfloat16), (False, torch.float16)])
def test_auto_exports_in_bfloat16_where_the_device_computes_in_it(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch, fast: bool, dtype: torch.dtype
) -> None:
    """Elsewhere in the type of training."""
    monkeypatch.setattr(settings, "computes_in_bfloat16", lambda device: fast)
    export = ExportSettings.of(derive(make_config(), llm_dtype="float16", export_dtype="auto"))
    assert export.dtype == dtype
    assert export.recipe()["export_dtype"] == str(dtype).removeprefix("torch.")


def test_an_unknown_type_of_the_export_is_refused(make_config: MakeConfig) -> None:
    with pytest.raises(ConfigError, match=r"export_dtype \[float7\] is not one of auto, float32, bfloat16, float16"):
        ExportSettings.of(derive(make_config(), export_dtype="float7"))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"fusion_pca_dimension": 0}, r"fusion_pca_dimension must be a whole number above 0, not \[0\]"),
        ({"fusion_pca_dimension": 0.5}, r"fusion_pca_dimension must be a whole number above 0, not \[0\.5\]"),
        ({"fusion_type": "gated"}, r"fusion_type \[gated\] is not one of gate, sum"),
    ],
)
def test_wrong_settings_of_the_fusion_are_named(make_config: MakeConfig, changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        KnowledgeFusionSettings.of(derive(make_config("TSLRecSASRec"), **changed))


def test_an_unknown_fusion_of_categories_names_the_known_ones(make_config: MakeConfig) -> None:
    with pytest.raises(ConfigError, match=r"ci_fusion_type \[gated\] is not one of gate, sum"):
        CategoryFusionSettings.of(derive(make_config("CISASRec"), ci_fusion_type="gated"))
