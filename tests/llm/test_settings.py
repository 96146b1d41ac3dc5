"""Names of types and quantisations are known before an LLM is loaded."""

from collections.abc import Callable
from typing import Any

import pytest

from recbole_tslrec.compute import precision
from recbole_tslrec.llm.settings import LLMSettings
from recbole_tslrec.settings import ConfigError, derive

MakeConfig = Callable[..., Any]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("llm_dtype", "float7", r"llm_dtype \[float7\] is not one of auto, float32, bfloat16, float16"),
        ("llm_quantization", "3bit", r"llm_quantization \[3bit\] is not one of none, 8bit, 4bit"),
        ("llm_quantization", "8bit", "llm_quantization does not apply to scratch"),
        ("scratch_layers", 0, r"scratch_layers must be a whole number above 0, not \[0\]"),
        ("scratch_hidden_size", 18, r"scratch_hidden_size \[18\] must be a multiple of 4, twice scratch_heads \[2\]"),
    ],
)
def test_a_wrong_value_is_refused_with_the_key_and_what_it_may_be(
    make_config: MakeConfig, key: str, value: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        LLMSettings.of(derive(make_config(), **{key: value}))


@pytest.mark.parametrize(
    ("device", "name", "dtype"),
    [("cpu", "auto", "float32"), ("cuda", "auto", "bfloat16"), ("cpu", "float16", "float16")],
)
def test_a_gpus_fine_tuning_is_reused_on_a_cpu_if_the_type_is_left_to_the_device(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch, device: str, name: str, dtype: str
) -> None:
    """The recipe has auto, not what it comes to: a CPU does not fine-tune anew, and serves in a type of its own."""
    monkeypatch.setattr(precision, "computes_in_bfloat16", lambda device: True)
    settings = LLMSettings.of(derive(make_config(), device=device, llm_dtype=name))
    assert settings.dtype == precision.DTYPES[dtype]
    assert settings.recipe()["llm_dtype"] == name
