"""Files are whole or not there."""

import errno
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from recbole_tslrec.store.files import read_json, write_tensors, written_whole

ROWS = torch.arange(6.0).reshape(3, 2)


def test_full_disk_is_one_error_and_keeps_the_existing_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space(tensors: object, filename: str, metadata: object) -> None:
        Path(filename).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "disk" / "model.safetensors"
    path.parent.mkdir()
    write_tensors(path, {"rows": ROWS})
    monkeypatch.setattr("recbole_tslrec.store.files.save_file", no_space)
    with pytest.raises(OSError, match=r"model\.safetensors could not be written .*No space left"):
        write_tensors(path, {"rows": ROWS + 1})
    assert torch.equal(load_file(path)["rows"], ROWS)
    assert [file.name for file in path.parent.iterdir()] == ["model.safetensors"]


def test_a_file_is_put_in_place_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "top.jsonl"
    with written_whole(path) as temporary:
        temporary.write_text("first")
        assert not path.exists()

    def fill_the_disk() -> None:
        with written_whole(path) as temporary:
            temporary.write_text("half")
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match=r"no room for .*top\.jsonl on its disk"):
        fill_the_disk()
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "{", "", "\x00"])
def test_what_is_no_json_is_one_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match=r"nested too deeply|Expecting"):
        read_json(tmp_path / "a.json")
