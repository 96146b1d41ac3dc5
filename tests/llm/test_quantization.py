"""Checkpoints with quantised weights: what they need is said before anything starts."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from recbole_tslrec.llm import quantization
from recbole_tslrec.llm.identity import LLMError
from recbole_tslrec.llm.loading import check_llm
from recbole_tslrec.llm.quantization import bytes_per_weight, why_not_quantized
from recbole_tslrec.llm.settings import LLMSettings
from recbole_tslrec.settings import derive
from tests.llm.gguf_files import write_gguf

MakeConfig = Callable[..., Any]


def quantized(**how: Any) -> Any:
    """A configuration whose weights are quantised."""
    return transformers.LlamaConfig(quantization_config=how)


# a checkpoint's quantization_config -> what is said where no package is installed
NEEDED: dict[str, tuple[dict[str, Any], str]] = {
    "GPTQ": (
        {"quant_method": "gptq", "bits": 4},
        r"\(gptq\), which needs more packages: pip install optimum gptqmodel",
    ),
    "AWQ": ({"quant_method": "awq", "bits": 4}, r"\(awq\), which needs more packages: pip install gptqmodel"),
    "bitsandbytes": ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "pip install bitsandbytes"),
    "bitsandbytes, as once": ({"load_in_8bit": True}, r"\(bitsandbytes\).*pip install bitsandbytes"),
    "compressed-tensors": ({"quant_method": "compressed-tensors"}, "pip install compressed-tensors"),
    "HQQ": ({"quant_method": "hqq"}, "pip install hqq"),
    "Quanto": ({"quant_method": "quanto"}, "pip install optimum-quanto"),
    "AQLM": ({"quant_method": "aqlm"}, r"pip install 'aqlm\[gpu,cpu\]'"),
    "unknown": (
        {"quant_method": "of-tomorrow"},
        r"\(of-tomorrow\), which does not run on this machine's cpu \(Unknown",
    ),
    "without gradients": ({"quant_method": "bitnet"}, r"\(bitnet\), which gives no gradients to train adapters by"),
}


@pytest.mark.parametrize("name", NEEDED)
def test_what_a_quantised_checkpoint_needs_is_said(
    make_config: MakeConfig, llama_folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    how, message = NEEDED[name]
    monkeypatch.setattr(quantization, "find_spec", lambda module: None)
    config_file = llama_folder / "config.json"
    config_file.write_text(json.dumps({**json.loads(config_file.read_text()), "quantization_config": how}))
    with pytest.raises(LLMError, match=message) as refused:
        check_llm(LLMSettings.of(make_config(llm_name_or_path=str(llama_folder))))
    assert "take the checkpoint that is not quantised" in str(refused.value)


def test_a_gguf_file_is_not_quantised_anew(make_config: MakeConfig, llama_folder: Path, tmp_path: Path) -> None:
    file = write_gguf(llama_folder, tmp_path / "llama.gguf")
    with pytest.raises(LLMError, match="set llm_quantization to none"):
        check_llm(LLMSettings.of(make_config(llm_name_or_path=str(file), llm_quantization="4bit")))


def test_what_is_quantised_is_not_quantised_anew(make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantization, "find_spec", lambda module: object())
    settings = LLMSettings.of(make_config(llm_name_or_path="a/b", llm_quantization="4bit"))
    reason = why_not_quantized(settings, quantized(quant_method="gptq", bits=4))
    assert reason == "its weights are quantised already (gptq); set llm_quantization to none"


@pytest.mark.parametrize(
    ("keys", "how", "expected"),
    [
        ({}, None, 4),
        ({"llm_dtype": "bfloat16"}, None, 2),
        ({"llm_quantization": "8bit"}, None, 1),
        ({"llm_quantization": "4bit"}, None, 0.5),
        ({}, {"quant_method": "gptq", "bits": 3}, 0.375),
        ({}, {"quant_method": "awq"}, 0.5),
        ({}, {"load_in_4bit": True}, 0.5),
        ({}, {"quant_method": "hqq"}, 1),
        ({}, {"quant_method": "fp8"}, 4),  # on a CPU it comes without its quantisation
    ],
)
def test_bytes_of_a_weight(
    make_config: MakeConfig, keys: dict[str, Any], how: dict[str, Any] | None, expected: float
) -> None:
    settings = LLMSettings.of(derive(make_config(llm_name_or_path="a/b", **keys), device=torch.device("cpu")))
    assert bytes_per_weight(settings, transformers.LlamaConfig() if how is None else quantized(**how)) == expected
