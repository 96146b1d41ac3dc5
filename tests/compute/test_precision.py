"""The floating-point types by name, and what auto stands for."""

import pytest
import torch

from recbole_tslrec.llm import precision
from recbole_tslrec.compute.precision import computes_in_bfloat16, export_dtype, llm_dtype

NAMES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def settings(device: str = "cpu", **names: str) -> dict[str, str]:
    return {"device": device, "llm_dtype": "auto", "export_dtype": "auto", **names}


@pytest.mark.parametrize(("name", "dtype"), NAMES.items())
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_name_is_that_type_on_every_device(name: str, dtype: torch.dtype, device: str) -> None:
    config = settings(device, llm_dtype=name, export_dtype=name)
    assert llm_dtype(config) == export_dtype(config) == dtype


@pytest.mark.parametrize(
    ("device", "dtype"), [("cpu", torch.float32), ("cuda", torch.bfloat16), ("cuda:1", torch.bfloat16)]
)
def test_auto_trains_in_bfloat16_on_a_gpu_only(device: str, dtype: torch.dtype) -> None:
    assert llm_dtype(settings(device)) == dtype


@pytest.mark.parametrize(("fast", "dtype"), [(True, torch.bfloat16), (False, torch.float16)])
def test_auto_exports_in_bfloat16_where_the_device_computes_in_it(
    monkeypatch: pytest.MonkeyPatch, fast: bool, dtype: torch.dtype
) -> None:
    """Elsewhere in the type of training."""
    monkeypatch.setattr(precision, "computes_in_bfloat16", lambda device: fast)
    assert export_dtype(settings(llm_dtype="float16")) == dtype


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"avx512_bf16": True}, True),
        ({"amx_bf16": True, "avx2": True}, True),
        ({"bf16": True}, True),
        ({"avx512_bf16": False, "avx2": True}, False),
        ({}, False),
    ],
)
def test_a_cpu_computes_in_bfloat16_where_it_says_so(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, bool], expected: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert computes_in_bfloat16("cpu") is expected


def test_a_torch_that_cannot_tell_counts_as_no(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert computes_in_bfloat16("cpu") is False


@pytest.mark.parametrize("key", ["llm_dtype", "export_dtype"])
def test_another_name_is_refused_with_the_key_and_the_names(key: str) -> None:
    read = {"llm_dtype": llm_dtype, "export_dtype": export_dtype}[key]
    with pytest.raises(ValueError, match=rf"{key} \[float7\] is not one of auto, float32, bfloat16, float16"):
        read(settings(**{key: "float7"}))
