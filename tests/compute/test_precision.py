"""The floating-point types by name, and what auto stands for."""

import pytest
import torch

from recbole_tslrec.compute import precision
from recbole_tslrec.compute.log_once import log_once
from recbole_tslrec.compute.precision import (
    DTYPES,
    autocast_in_bfloat16,
    computes_in_bfloat16,
    named_dtype,
    warn_of_slow_autocast,
)

NAMES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def test_the_types_that_have_a_name() -> None:
    assert DTYPES == NAMES


@pytest.mark.parametrize(("name", "dtype"), NAMES.items())
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_name_is_that_type_on_every_device(name: str, dtype: torch.dtype, device: str) -> None:
    assert named_dtype(name, device) == dtype


@pytest.mark.parametrize(
    ("device", "fast", "dtype"),
    [
        ("cpu", True, torch.float32),
        ("cuda", True, torch.bfloat16),
        ("cuda:1", True, torch.bfloat16),
        ("cuda", False, torch.float32),
    ],
)
def test_auto_is_bfloat16_on_a_gpu_that_computes_in_it(
    monkeypatch: pytest.MonkeyPatch, device: str, fast: bool, dtype: torch.dtype
) -> None:
    monkeypatch.setattr(precision, "computes_in_bfloat16", lambda device: fast)
    assert named_dtype("auto", device) == dtype


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


@pytest.mark.parametrize(
    ("device", "fast", "warnings"), [("cpu", False, 1), ("cpu", True, 0), ("cuda", False, 0), ("cuda:1", True, 0)]
)
def test_autocast_is_warned_of_once_where_a_cpu_lacks_the_units(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, device: str, fast: bool, warnings: int
) -> None:
    log_once.cache_clear()
    monkeypatch.setattr(precision, "computes_in_bfloat16", lambda device: fast)
    warn_of_slow_autocast(device)
    warn_of_slow_autocast(device)
    found = [record for record in caplog.records if "enable_amp" in record.message]
    assert len(found) == warnings
    assert all("--enable_amp=False" in record.message for record in found)


@pytest.mark.parametrize(
    ("device", "can", "expected"), [("cuda", True, torch.bfloat16), ("cuda", False, torch.float16)]
)
def test_autocast_of_a_gpu_is_bfloat16_where_it_can(
    monkeypatch: pytest.MonkeyPatch, device: str, can: bool, expected: torch.dtype
) -> None:
    monkeypatch.setattr(precision, "computes_in_bfloat16", lambda device: can)
    with autocast_in_bfloat16(device):
        assert torch.get_autocast_dtype("cuda") == expected
    assert torch.get_autocast_dtype("cuda") == torch.float16
