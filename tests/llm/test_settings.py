"""Names of types and quantisations are known before an LLM is loaded."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from recbole_tslrec.llm.settings import LLMSettings
from recbole_tslrec.settings import ConfigError, derive

MakeConfig = Callable[..., Any]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("llm_dtype", "float7", r"llm_dtype \[float7\] is not one of auto, float32, bfloat16, float16"),
        ("llm_quantization", "3bit", r"llm_quantization \[3bit\] is not one of none, 8bit, 4bit"),
        ("llm_quantization", "8bit", "llm_quantization does not apply to scratch"),
    ],
)
def test_a_wrong_value_is_refused_with_the_key_and_what_it_may_be(
    make_config: MakeConfig, key: str, value: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        LLMSettings.of(derive(make_config(), **{key: value}))


@pytest.mark.parametrize(
    ("device", "name", "dtype"),
    [
        ("cpu", "auto", torch.float32),
        ("cuda", "auto", torch.bfloat16),
        ("cuda:1", "auto", torch.bfloat16),
        ("cpu", "float16", torch.float16),
        ("cuda", "float32", torch.float32),
    ],
)
def test_auto_trains_in_bfloat16_on_a_gpu_only(
    make_config: MakeConfig, device: str, name: str, dtype: torch.dtype
) -> None:
    assert LLMSettings.of(derive(make_config(), device=device, llm_dtype=name)).dtype == dtype
