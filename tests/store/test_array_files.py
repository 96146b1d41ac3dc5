"""Arrays and texts come back from files as they were; what is written into a mapped one stays in the process."""

from pathlib import Path

import numpy as np
import pytest

from recbole_tslrec.store.array_files import map_array, read_tokens, write_array, write_tokens
from recbole_tslrec.store.files import hash_arrays


@pytest.mark.parametrize("kind", [np.int64, np.float32, np.uint8])
@pytest.mark.parametrize("count", [0, 3, 100_000])
def test_arrays_come_back(tmp_path: Path, kind: type, count: int) -> None:
    array = np.arange(count).astype(kind)
    write_array(tmp_path / "a.npy", array)
    found = map_array(tmp_path / "a.npy")
    assert found.dtype == array.dtype
    assert np.array_equal(found, array)
    assert np.array_equal(np.load(tmp_path / "a.npy"), array)  # numpy's own format


def test_what_is_written_into_a_mapped_array_does_not_reach_the_file(tmp_path: Path) -> None:
    write_array(tmp_path / "a.npy", np.zeros(100_000))
    map_array(tmp_path / "a.npy")[:] = 1
    assert map_array(tmp_path / "a.npy").sum() == 0


def test_array_that_was_cut_is_refused(tmp_path: Path) -> None:
    write_array(tmp_path / "a.npy", np.zeros(100_000))
    (tmp_path / "a.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:700_000])
    with pytest.raises(ValueError, match="length"):
        map_array(tmp_path / "a.npy")


@pytest.mark.parametrize("tokens", [[], ["[PAD]", "", "ü", "u1", "x" * 5000, "a\tb"]])
def test_texts_come_back(tmp_path: Path, tokens: list[str]) -> None:
    write_tokens(tmp_path, "tokens", tokens)
    assert read_tokens(tmp_path, "tokens").tolist() == tokens


def test_one_long_text_makes_the_others_no_longer(tmp_path: Path) -> None:
    write_tokens(tmp_path, "tokens", ["x" * 10_000, *(f"{number:05}" for number in range(10_000))])
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 150_000  # numpy's texts: 400 million bytes


def test_hash_of_objects_is_that_of_numpys_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recbole_tslrec.store.files._ROWS", 2)
    for texts in ([], [""], ["a", "long", "", "ü", "b"]):
        assert hash_arrays(np.array(texts, dtype=object)) == hash_arrays(np.array(texts, dtype=str))
