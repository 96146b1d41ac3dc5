"""Hashes of files by their contents, computed once for each version of a file."""

import errno
import hashlib
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from recbole_tslrec.store import contents
from recbole_tslrec.store.contents import ContentHashes


@pytest.fixture
def hashes(tmp_path: Path) -> ContentHashes:
    return ContentHashes(tmp_path / "artifacts")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "weights.bin"
    path.write_bytes(b"one")
    return path


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def change_time(path: Path, nanoseconds: int) -> None:
    """Move the time of the last change."""
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + nanoseconds))


def never_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on reading a file fails the test."""
    monkeypatch.setattr(contents, "hash_file", lambda path: pytest.fail(f"{path} is read again"))


# one file


def test_hash_is_the_sha256(hashes: ContentHashes, file: Path) -> None:
    assert hashes.of(file) == sha256(b"one")


def test_unchanged_file_is_read_once(hashes: ContentHashes, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By another object too: another run, or another process."""
    first = hashes.of(file)
    never_read(monkeypatch)
    assert hashes.of(file) == first
    assert ContentHashes(hashes.path.parent).of(file) == first


def test_file_is_known_by_any_name_that_leads_to_it(
    hashes: ContentHashes, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = hashes.of(file)
    link = file.with_name("link")
    link.symlink_to(file)
    never_read(monkeypatch)
    monkeypatch.chdir(file.parent)
    assert hashes.of(Path(file.name)) == hashes.of(link) == first


def test_file_of_another_size_is_read_again(hashes: ContentHashes, file: Path) -> None:
    hashes.of(file)
    time = file.stat().st_mtime_ns
    file.write_bytes(b"three")
    os.utime(file, ns=(time, time))
    assert hashes.of(file) == sha256(b"three")


def test_file_of_another_time_is_read_again(hashes: ContentHashes, file: Path) -> None:
    """Of the same size; a nanosecond is enough."""
    hashes.of(file)
    time = file.stat().st_mtime_ns
    file.write_bytes(b"two")
    os.utime(file, ns=(time + 1, time + 1))
    assert hashes.of(file) == sha256(b"two")


def test_touched_file_has_the_same_hash(hashes: ContentHashes, file: Path) -> None:
    first = hashes.of(file)
    change_time(file, 10**9)
    assert hashes.of(file) == first


def test_file_that_does_not_exist_is_an_error(hashes: ContentHashes, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        hashes.of(tmp_path / "nowhere")


# what is kept


def test_size_time_and_hash_are_kept_by_path(hashes: ContentHashes, file: Path) -> None:
    hashes.of(file)
    kept = json.loads((hashes.path.parent / "content_hashes.json").read_text())
    assert kept == {str(file): [3, file.stat().st_mtime_ns, sha256(b"one")]}


@pytest.mark.parametrize(
    "damage", ["", "{", "[1]", "7", '{"FILE": 7}', '{"FILE": [3]}', '{"FILE": {"size": 3}}', '{"FILE": null}', "\udcff"]
)
def test_damaged_file_of_hashes_counts_for_nothing(hashes: ContentHashes, file: Path, damage: str) -> None:
    hashes.of(file)
    text = damage.replace("FILE", str(file))
    hashes.path.write_text(text, errors="surrogateescape")  # the last one is no UTF-8
    file.write_bytes(b"two!")
    assert hashes.of(file) == sha256(b"two!")
    assert list(json.loads(hashes.path.read_text())) == [str(file)]


def test_many_at_once_lose_nothing(hashes: ContentHashes, tmp_path: Path) -> None:
    """As the processes of a run do, each with an object of its own."""
    files = [tmp_path / f"{number}.bin" for number in range(40)]
    for number, path in enumerate(files):
        path.write_bytes(b"x" * number)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda path: ContentHashes(hashes.path.parent).of(path), files))
    assert found == [sha256(b"x" * number) for number in range(40)]
    assert set(json.loads(hashes.path.read_text())) == set(map(str, files))


# several files


def folder_of(folder: Path, **files: bytes) -> Path:
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def test_hash_of_several_files_is_of_their_names_and_contents(hashes: ContentHashes, tmp_path: Path) -> None:
    """Not of where they lie, nor of their order."""

    def of(name: str, **files: bytes) -> str:
        folder = folder_of(tmp_path / name, **files)
        return hashes.of_all(folder, folder.iterdir())

    given = of("given", a=b"1", b=b"2")
    assert of("copied", b=b"2", a=b"1") == given
    others = {of("renamed", a=b"1", c=b"2"), of("swapped", a=b"2", b=b"1"), of("fewer", a=b"1")}
    assert len(others | {given}) == 4


def test_of_several_files_only_the_changed_one_is_read_again(
    hashes: ContentHashes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folder_of(tmp_path / "given", a=b"1", b=b"2")
    before = hashes.of_all(folder, folder.iterdir())
    read: list[str] = []
    monkeypatch.setattr(contents, "hash_file", lambda path: read.append(path.name) or sha256(path.read_bytes()))
    (folder / "b").write_bytes(b"22")
    assert hashes.of_all(folder, folder.iterdir()) != before
    assert read == ["b"]


def test_a_hash_that_cannot_be_kept_is_computed(
    file: Path, hashes: ContentHashes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a copy of the artifacts where nobody may write."""

    def refuse(_: Path) -> Iterator[None]:
        raise PermissionError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(contents, "locked", refuse)
    assert hashes.of(file) == sha256(b"one")
