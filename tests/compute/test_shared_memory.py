"""Worker processes need room for their batches."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recbole_tslrec.compute import shared_memory
from recbole_tslrec.compute.shared_memory import check_shared_memory
from recbole_tslrec.data.dataset import Data

MIB = 2**20


def free(monkeypatch: pytest.MonkeyPatch, space: int) -> None:
    usage = shutil._ntuple_diskusage(space, 0, space)
    monkeypatch.setattr(shared_memory.shutil, "disk_usage", lambda folder: usage)


def test_two_workers_have_five_batches_in_shared_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    free(monkeypatch, 5 * MIB)
    check_shared_memory(2, MIB, tmp_path)
    with pytest.raises(RuntimeError, match=r"--worker=2 .* has 5\.0 MiB free where they take up to 10\.0"):
        check_shared_memory(2, 2 * MIB, tmp_path)


def test_no_worker_needs_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    free(monkeypatch, 0)
    check_shared_memory(0, MIB, tmp_path)


def test_workers_are_refused_before_the_training_where_shared_memory_is_full(
    monkeypatch: pytest.MonkeyPatch, make_config: Callable[..., Any]
) -> None:
    free(monkeypatch, 0)
    with pytest.raises(RuntimeError, match="set --worker=0"):
        Data(make_config(worker=2)).loaders  # noqa: B018
