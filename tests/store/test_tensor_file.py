"""A safetensors file by rows: what the library reads is what was written, and the other way round."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file

from recbole_tslrec.store.tensor_file import TensorFile

SHAPES: Mapping[str, tuple[int, ...]] = {"knowledge": (7, 3), "category_distribution": (7, 2), "cube": (2, 2, 5)}


def test_rows_written_out_of_order_are_what_safetensors_loads(tmp_path: Path) -> None:
    path = tmp_path / "data.safetensors"
    expected = {name: torch.randn(shape, generator=torch.Generator().manual_seed(0)) for name, shape in SHAPES.items()}
    file = TensorFile.create(path, SHAPES)
    for name, start, stop in [
        ("knowledge", 4, 7),
        ("cube", 1, 2),
        ("category_distribution", 0, 7),
        ("knowledge", 0, 3),
        ("knowledge", 3, 4),
        ("cube", 0, 1),
    ]:
        file.write_rows(name, start, expected[name][start:stop])
    file.sync()
    found = load_file(path)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], rows) for name, rows in expected.items())


def test_rows_that_were_not_written_are_zero(tmp_path: Path) -> None:
    file = TensorFile.create(tmp_path / "data.safetensors", SHAPES)
    file.write_rows("knowledge", 2, torch.ones(1, 3))
    found = load_file(file.path)
    assert found["knowledge"].sum(dim=1).tolist() == [0, 0, 3, 0, 0, 0, 0]
    assert not found["cube"].any()


def test_rows_that_do_not_lie_together_in_memory_are_written_as_they_are(tmp_path: Path) -> None:
    file = TensorFile.create(tmp_path / "data.safetensors", {"rows": (2, 3)})
    rows = torch.arange(6.0).view(3, 2).T
    file.write_rows("rows", 0, rows)
    assert torch.equal(load_file(file.path)["rows"], rows)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_rows_of_a_file_of_the_library_are_read(tmp_path: Path, dtype: torch.dtype) -> None:
    path = tmp_path / "data.safetensors"
    rows = torch.arange(12.0).view(6, 2).to(dtype)
    save_file({"other": torch.zeros(3), "rows": rows}, path, metadata={"made": "elsewhere"})
    file = TensorFile(path)
    assert file.shapes == {"other": (3,), "rows": (6, 2)}
    found = file.read_rows("rows", 2, 5)
    assert found.dtype == dtype
    assert torch.equal(found, rows[2:5])
    assert torch.equal(file.read_rows("rows", 0, 6), rows)


def test_a_type_that_is_not_read_by_rows_is_named(tmp_path: Path) -> None:
    save_file({"ids": torch.arange(3)}, tmp_path / "ids.safetensors")
    with pytest.raises(ValueError, match=r"ids\.safetensors: \[ids\] is of a type"):
        TensorFile(tmp_path / "ids.safetensors").read_rows("ids", 0, 1)


def test_two_writers_of_different_rows_do_not_disturb_each_other(tmp_path: Path) -> None:
    first = TensorFile.create(tmp_path / "data.safetensors", {"rows": (4, 2)})
    second = TensorFile(first.path)
    second.write_rows("rows", 2, torch.full((2, 2), 2.0))
    first.write_rows("rows", 0, torch.full((2, 2), 1.0))
    assert load_file(first.path)["rows"].tolist() == [[1, 1], [1, 1], [2, 2], [2, 2]]


def test_a_disk_without_room_is_said_before_anything_is_created(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """2^28 numbers of four bytes are one GiB; half of it is free."""
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=2**29))
    path = tmp_path / "table" / "data.safetensors"
    path.parent.mkdir()
    with pytest.raises(OSError, match=r"data\.safetensors needs 1\.00 GiB, its disk has 0\.50 GiB free.*artifacts_dir"):
        TensorFile.create(path, {"rows": (2**20, 2**8)})
    assert not list(path.parent.iterdir())
