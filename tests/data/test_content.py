"""A file is known by its content; its text is the same whatever it is packed with; limits hold."""

import bz2
import gzip
import io
import lzma
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from recbole_tslrec.data import content
from recbole_tslrec.data.content import EncodingError, SourceError, kind_of, open_text

TEXT = "user,item\nré,1\n"


def zipped(members: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return buffer.getvalue()


PACK: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zstd": lambda data: pa.Codec("zstd").compress(data, asbytes=True),
    "zip": lambda data: zipped({"folder/a": data.decode(), "__MACOSX/a": "resource fork"}),
}


def write(tmp_path: Path, data: bytes) -> Path:
    """Under a name that says nothing."""
    (tmp_path / "given").write_bytes(data)
    return tmp_path / "given"


def read(path: Path, encoding: str | None = None) -> str:
    with open_text(path, encoding) as file:
        return file.read()


@pytest.mark.parametrize("kind", PACK)
def test_packed_text_is_text(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path, PACK[kind](b"user,item\nr,1\n"))
    assert kind_of(path) == kind
    assert read(path) == "user,item\nr,1\n"


def test_an_archive_in_an_archive_is_unpacked(tmp_path: Path) -> None:
    assert read(write(tmp_path, gzip.compress(bz2.compress(TEXT.encode())))) == TEXT


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_unicode_is_read_whatever_its_encoding(tmp_path: Path, encoding: str) -> None:
    assert read(write(tmp_path, TEXT.encode(encoding))) == TEXT


def test_latin_1_is_named_with_its_line_and_read_where_it_is_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path, TEXT.encode("latin-1"))
    with pytest.raises(EncodingError, match=r"line 2 is not UTF-8 \(byte 0xe9\).*iconv -f LATIN1"):
        read(path)
    assert read(path, "latin-1") == TEXT


def test_line_ends_are_alike(tmp_path: Path) -> None:
    assert read(write(tmp_path, b"a\r\nb\rc\n")) == "a\nb\nc\n"


@pytest.mark.parametrize("kind", PACK)
def test_half_an_archive_is_no_archive(tmp_path: Path, kind: str) -> None:
    packed = PACK[kind](os.urandom(5000).hex().encode())
    with pytest.raises(SourceError, match="damaged or ends too early"):
        read(write(tmp_path, packed[: len(packed) // 2]))


@pytest.mark.parametrize(
    ("data", "kind", "cure"),
    [
        (b"x" * 257 + b"ustar\0" + bytes(249), "tar", "tar -xf"),
        (zipped({"docProps/app.xml": "y", "xl/workbook.xml": "x"}), "xlsx", "read_excel"),
        (zipped({"model/data.pkl": "x"}), "torch", "not opened"),
        (b"SQLite format 3\0" + bytes(84), "sqlite", "sqlite3 -header -csv"),
        (b"\x80\x04\x95\x05\0\0\0", "pickle", "not opened"),
        (b"<!DOCTYPE html><html>login</html>", "web page", "download the file itself"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git-lfs pointer", "git lfs pull"),
        (b"\x01\0\0\0\x05\0", "binary", "CSV"),
    ],
)
def test_what_is_no_text_is_refused_with_its_cure(tmp_path: Path, data: bytes, kind: str, cure: str) -> None:
    path = write(tmp_path, data)
    assert kind_of(path) == kind
    with pytest.raises(SourceError, match=rf"is a {kind} file; .*{cure}"):
        open_text(path)


def test_a_tar_archive_in_gzip_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="is a tar file; unpack it with"):
        open_text(write(tmp_path, gzip.compress(b"x" * 257 + b"ustar\0" + bytes(249))))


def test_an_archive_of_several_files_lists_them(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"zip archive of 2 files \(a, b\); unpack it with `unzip"):
        open_text(write(tmp_path, zipped({"a": "x", "b": "y"})))


def test_text_that_begins_like_an_archive_is_text(tmp_path: Path) -> None:
    for beginning in ("BZh ", "PAR1\t", "PK\t", "7z,", "%PD"):
        assert kind_of(write(tmp_path, f"{beginning}x\n".encode())) == "text"


def test_a_line_may_not_be_endless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, b"short\n" + b"x" * 101)
    monkeypatch.setattr(content, "LINE_LIMIT", 101)
    assert len(read(path)) == 107
    monkeypatch.setattr(content, "LINE_LIMIT", 100)
    with pytest.raises(SourceError, match="line 2 has more than 100 bytes"):
        read(path)


def test_an_archive_may_not_unpack_to_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "UNPACKED_FREE", 1 << 20)
    packed = gzip.compress(b"a,b\n" * (1 << 20))
    with pytest.raises(SourceError, match=rf"more than 200 times its size: {len(packed):,} bytes of it to \d"):
        read(write(tmp_path, packed))


def test_a_folder_and_a_missing_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="is a folder; name a file in it"):
        open_text(tmp_path)
    with pytest.raises(SourceError, match="nowhere does not exist"):
        open_text(tmp_path / "nowhere")
