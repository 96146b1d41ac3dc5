"""Files of item vectors are known by their content, and what is not read is refused with what converts it."""

import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from recbole_tslrec.augmentation.vector_files import read_file
from recbole_tslrec.augmentation.vector_rows import VectorsError
from recbole_tslrec.data import content

TOKENS = ["b", "a", "c"]
ROWS = np.array([[0.5, -2.0], [3.0, 1.0], [0.0, 7.5]], dtype=np.float32)
TABLE = pd.DataFrame(ROWS, columns=["d0", "d1"]).assign(item_id=TOKENS)


def write_tokens(folder: Path, text: str = "b\na\nc\n") -> None:
    (folder / "tokens.txt").write_bytes(text.encode())


@pytest.mark.parametrize("name", ["e.feather", "e.parquet", "e.npy", "e.vectors", "e"])
@pytest.mark.parametrize("write", [pd.DataFrame.to_feather, pd.DataFrame.to_parquet])
def test_name_says_nothing(tmp_path: Path, name: str, write: Callable[[pd.DataFrame, Path], None]) -> None:
    write(TABLE, tmp_path / name)
    tokens, rows = read_file(tmp_path / name)
    assert (tokens, rows.tolist()) == (TOKENS, ROWS.tolist())


@pytest.mark.parametrize("name", ["item_id", "tokens", None])
def test_arrays_of_numpy(tmp_path: Path, name: str | None) -> None:
    np.savez(tmp_path / "e.npz", vectors=ROWS, **({name: np.array(TOKENS)} if name else {}))
    write_tokens(tmp_path)
    tokens, rows = read_file(tmp_path / "e.npz")
    assert (tokens, rows.tolist()) == (TOKENS, ROWS.tolist())


@pytest.mark.parametrize("text", ["b\r\na\r\nc\r\n", "\ufeffb\na\nc", "b\na\nc\n\n\n"])
def test_tokens_as_editors_leave_them(tmp_path: Path, text: str) -> None:
    np.save(tmp_path / "e.npy", ROWS)
    write_tokens(tmp_path, text)
    assert read_file(tmp_path / "e.npy")[0] == TOKENS


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": ROWS, "y": ROWS}, "holds 2 2-d arrays; keep one"),
        ({"x": ROWS, "y": np.arange(3)}, "no array of item tokens that is named item_id, but y; name it so"),
        ({"x": ROWS, "y": np.array(TOKENS, dtype=object)}, r"other things than plain arrays .*; save text as"),
    ],
)
def test_arrays_that_are_not_clear(tmp_path: Path, arrays: dict[str, np.ndarray], message: str) -> None:
    np.savez(tmp_path / "e.npz", **arrays)
    with pytest.raises(VectorsError, match=message):
        read_file(tmp_path / "e.npz")


class Program:
    """What a pickle can do."""

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return Path.touch, (Path("ran"),)


@pytest.mark.parametrize(
    "write", [lambda path: torch.save(Program(), path), lambda path: path.write_bytes(pickle.dumps(Program()))]
)
def test_nothing_is_unpickled(tmp_path: Path, write: Callable[[Path], None]) -> None:
    write(tmp_path / "e.parquet")
    with pytest.raises(VectorsError, match="can run any program when it is opened, so it is not; convert"):
        read_file(tmp_path / "e.parquet")
    assert not Path("ran").exists()


@pytest.mark.parametrize("name", ["e.pt", "e.pth", "e.pkl", "e.pickle"])
@pytest.mark.parametrize("legacy", [False, True])
def test_the_two_lines_convert_it(tmp_path: Path, name: str, legacy: bool) -> None:
    path, vectors = tmp_path / name, dict(zip(TOKENS, torch.from_numpy(ROWS), strict=True))
    if path.suffix.startswith(".pt"):
        torch.save(vectors, path, _use_new_zipfile_serialization=not legacy)
    else:
        path.write_bytes(pickle.dumps({token: row.tolist() for token, row in vectors.items()}))
    with pytest.raises(VectorsError, match="convert it where you trust it") as error:
        read_file(path)
    lines = [line.strip() for line in str(error.value).splitlines()[1:]]
    assert len(lines) == 2
    subprocess.run([sys.executable, "-c", "\n".join(lines)], check=True)
    tokens, rows = read_file(path.with_suffix(".parquet"))
    assert (tokens, rows.tolist()) == (TOKENS, ROWS.tolist())


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "is a HDF5 file, which has no one form .*\n.*h5py"),
        (b"SQLite format 3\x00" + bytes(100), "is a sqlite file; write"),
        (b"\x00\x01\x02" * 100, "is a binary file; write"),
        (b"PAR1\x15" + bytes(100), "is no whole parquet file .*; write it again"),
    ],
)
def test_other_kinds(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "e.parquet").write_bytes(data)
    with pytest.raises(VectorsError, match=message):
        read_file(tmp_path / "e.parquet")


def npy(shape: str) -> bytes:
    """The head of an array of a shape, and 100 numbers."""
    head = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".ljust(117)
    return b"\x93NUMPY\x01\x00v\x00" + head.encode() + b"\n" + bytes(400)


@pytest.mark.filterwarnings("error::RuntimeWarning")  # numpy's product of the third shape overflows
@pytest.mark.parametrize("shape", ["(3, 1000)", "(100000000, 1000)", "(10000000000, 100000000000)", "((((((((("])
def test_an_array_that_is_not_there_takes_no_memory(tmp_path: Path, shape: str) -> None:
    write_tokens(tmp_path)
    (tmp_path / "e.npy").write_bytes(npy(shape))
    with pytest.raises(VectorsError, match=r"e\.npy is no plain array"):
        read_file(tmp_path / "e.npy")
    with ZipFile(tmp_path / "e.npz", "w") as archive:
        archive.writestr("e.npy", npy(shape))
    with pytest.raises(VectorsError, match=r"e\.npz holds other things than plain arrays"):
        read_file(tmp_path / "e.npz")


def test_an_array_longer_than_its_file_is_named_with_both_lengths(tmp_path: Path) -> None:
    write_tokens(tmp_path)
    (tmp_path / "e.npy").write_bytes(npy("(3, 1000)"))  # of 4 bytes each
    with pytest.raises(VectorsError, match="its header speaks of 12,000 bytes, and 400 follow"):
        read_file(tmp_path / "e.npy")


def test_arrays_that_unpack_to_anything_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "UNPACKED_FREE", 1 << 20)
    np.savez_compressed(tmp_path / "e.npz", vectors=np.zeros((1 << 10, 1 << 9), np.float32))
    with pytest.raises(VectorsError, match=r"more than 200 times its size: .* bytes of it to 2,097,280 or more"):
        read_file(tmp_path / "e.npz")


def test_an_archive_that_is_damaged_inside_is_one_error(tmp_path: Path) -> None:
    write_tokens(tmp_path)
    path = tmp_path / "e.npz"
    np.savez_compressed(path, vectors=ROWS)
    written = bytearray(path.read_bytes())
    written[100] ^= 255  # in what is packed
    path.write_bytes(written)
    with pytest.raises(VectorsError, match=r"e\.npz holds other things than plain arrays"):
        read_file(path)


@pytest.mark.parametrize("value", ["[" * 100_000, "5", "{}", "[[1], [2], [3]]", "no JSON"])
def test_tokens_in_metadata_are_a_list(tmp_path: Path, value: str) -> None:
    save_file({"knowledge": torch.from_numpy(ROWS)}, str(tmp_path / "e.safetensors"), {"tokens": value})
    with pytest.raises(VectorsError, match="in its metadata that are no JSON list; write"):
        read_file(tmp_path / "e.safetensors")
