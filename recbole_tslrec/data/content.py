"""What a file is, by its first bytes and never by its name; and its text, whatever it is packed with.

Text comes as UTF-8 with lines that end in ``\\n``. What is no text is refused with the command that converts it.
Files are read block by block, within two limits: :data:`LINE_LIMIT` and :data:`UNPACKED_RATIO`.
"""

import bz2
import codecs
import gzip
import io
import lzma
import re
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any, BinaryIO, TextIO, cast
from zipfile import BadZipFile, ZipFile, ZipInfo

import pyarrow as pa

LINE_LIMIT = 16 << 20  # bytes of a line
UNPACKED_RATIO = 200  # bytes that may come out of each packed one ...
UNPACKED_FREE = 64 << 20  # ... beyond these
_BLOCK = 1 << 20  # bytes
_READ_AHEAD = 64 << 10  # bytes of an archive, so that what comes out is compared with little more than what went in
_LAYERS = 3  # archives inside each other
_HEAD = 512  # bytes by which a file is recognised

_MAGIC = {
    "gzip": rb"\x1f\x8b\x08",
    "bz2": rb"BZh[1-9](1AY&SY|\x17rE8P\x90)",
    "xz": rb"\xfd7zXZ\x00",
    "zstd": rb"\x28\xb5\x2f\xfd",
    "zip": rb"PK(\x03\x04|\x05\x06)",
    "parquet": rb"PAR1\x15",
    "feather": rb"ARROW1\x00\x00",
    "tar": rb"[\x00-\xff]{257}ustar",
    "sqlite": rb"SQLite format 3\x00",
    "pickle": rb"\x80[\x02-\x05]",
    "HDF5": rb"\x89HDF\r\n",
    "numpy": rb"\x93NUMPY",
    "xls": rb"\xd0\xcf\x11\xe0",
    "7z": rb"7z\xbc\xaf\x27\x1c",
    "rar": rb"Rar!\x1a\x07",
    "lz4": rb"\x04\x22\x4d\x18",
    "pdf": rb"%PDF-",
    "web page": rb"(?i:\s*<(!doctype html|html))",
    "git-lfs pointer": rb"version https://git-lfs",
}
_IN_ZIP = {"xlsx": r"xl/", "torch": r"[^/]+/data\.pkl", "npz": r"[^/]+\.npy", "ods": r"content\.xml"}  # a member's name
_CURES = {
    "tar": "unpack it with `tar -xf {path}` and name the file that was inside",
    "xlsx": "convert it with `python -c \"import pandas; pandas.read_excel('{path}', dtype=str).to_csv('{path}.csv', "
    'index=False)"` (needs openpyxl)',
    "ods": "save it as CSV from the program that made it",
    "xls": "save it as CSV from the program that made it",
    "sqlite": "write the table that you need as CSV: `sqlite3 -header -csv {path} 'select * from TABLE' > table.csv`",
    "pickle": "a pickle can run any program, so it is not opened; where you trust it, convert it with `python -c "
    "\"import pandas; pandas.read_pickle('{path}').to_parquet('{path}.parquet')\"`",
    "torch": "it holds a pickle, which can run any program, so it is not opened; write what is in it as CSV or parquet",
    "HDF5": "convert it with `python -c \"import pandas; pandas.read_hdf('{path}').to_parquet('{path}.parquet')\"`",
    "numpy": "write the array as CSV or parquet with names for its columns",
    "npz": "write the arrays as CSV or parquet with names for their columns",
    "7z": "unpack it with `7z x {path}` and name the file that was inside",
    "rar": "unpack it with `unrar x {path}` and name the file that was inside",
    "lz4": "unpack it with `lz4 -d {path}` and name the file that comes out",
    "pdf": "it holds no data",
    "web page": "download the file itself; the address may want a login",
    "git-lfs pointer": "fetch the file that it stands for with `git lfs pull`",
    "parquet": "unpack the archive that it is in and name the file that was inside",
    "feather": "unpack the archive that it is in and name the file that was inside",
    "binary": "write it as CSV, parquet or one JSON object a line",
}


class SourceError(ValueError):
    """A source cannot be read, or is not what it was taken for."""


class EncodingError(SourceError):
    """A text is not in the encoding in which it is read."""


def kind_of(path: Path) -> str:
    """What a file is: a key of :data:`_MAGIC`, ``xlsx``, ``ods``, ``torch``, ``npz``, ``text`` or ``binary``.

    Raises:
        SourceError: there is no such file, it is a folder, or a zip archive that is not whole.
    """
    _check_is_file(path)
    with path.open("rb") as file:
        kind = _kind_of_head(file.read(_HEAD))
        return _kind_of_zip(path, [member.filename for member in _members(path, file)]) if kind == "zip" else kind


def open_text(path: Path, encoding: str | None = None) -> TextIO:
    """A text file, packed or not, line by line.

    Args:
        path: the file: plain, or packed with gzip, bz2, xz, zstd or, as its only member, zip.
        encoding: of the text; ``None`` is UTF-8, or UTF-16 where the first bytes show that. A byte order mark is
            no part of the text.

    Raises:
        SourceError: it is no text, or an archive of several files; says what to do.
            While it is read: a line exceeds :data:`LINE_LIMIT`; it unpacks to more than :data:`UNPACKED_RATIO`
            times its size; the archive is damaged or ends too early.
        EncodingError: while it is read: it is not in that encoding; names the line.
    """
    return io.TextIOWrapper(open_bytes(path, encoding), encoding="utf-8", newline="\n")


def open_bytes(path: Path, encoding: str | None = None) -> BinaryIO:
    """The same as UTF-8 bytes; see :func:`open_text`."""
    _check_is_file(path)
    raw = path.open("rb", buffering=0)
    stream: Any = io.BufferedReader(raw, _READ_AHEAD)
    try:
        for _ in range(_LAYERS):
            kind = _kind_of_head(stream.peek(_HEAD)[:_HEAD])
            if kind == "zip" and stream.seekable():
                kind = _kind_of_zip(path, [member.filename for member in _members(path, stream)])
            if kind not in _UNPACK:
                break
            stream = io.BufferedReader(_Unpacked(path, _UNPACK[kind](path, stream), stream, raw), _BLOCK)
        if kind != "text":
            raise not_readable(path, kind)
        text = _Text(path, stream, encoding or _encoding_of(stream.peek(_HEAD)[:_HEAD]))
    except BaseException:
        stream.close()
        raise
    return cast(BinaryIO, io.BufferedReader(text, _BLOCK))


def not_readable(path: Path, kind: str) -> SourceError:
    """The error of a file of a kind that is not read: what it is, and how to convert it."""
    return SourceError(f"{path} is a {kind} file; {_CURES.get(kind, _CURES['binary']).format(path=path)}")


def check_unpacked(path: Path, packed: int, unpacked: int) -> None:
    """Refuse what would fill the memory.

    Args:
        path: the file, for the message.
        packed: bytes of it.
        unpacked: bytes that come out of them.

    Raises:
        SourceError: these are more than :data:`UNPACKED_RATIO` times the former, and than :data:`UNPACKED_FREE`.
    """
    if unpacked > max(UNPACKED_FREE, UNPACKED_RATIO * packed):
        raise SourceError(
            f"{path} unpacks to more than {UNPACKED_RATIO} times its size: {packed:,} bytes of it to {unpacked:,} or "
            "more, as no file of data does; if it is one, unpack it by hand, or write it as plain CSV"
        )


def _check_is_file(path: Path) -> None:
    if path.is_dir():
        raise SourceError(f"{path} is a folder; name a file in it")
    if not path.is_file():
        raise SourceError(f"{path} does not exist; check its name")


def _kind_of_head(head: bytes) -> str:
    for kind, pattern in _MAGIC.items():
        if re.match(pattern, head, re.DOTALL):
            return kind
    return "text" if b"\0" not in head or _encoding_of(head).startswith("utf-16") else "binary"


def _encoding_of(head: bytes) -> str:
    """UTF-16 by its mark, or since every other byte of a text of mostly ASCII is zero; else UTF-8."""
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    even, odd = head[::2], head[1::2]
    for encoding, zeros, others in (("utf-16-le", odd, even), ("utf-16-be", even, odd)):
        if zeros and zeros.count(0) > len(zeros) / 2 and others.count(0) == 0:
            return encoding
    return "utf-8-sig"


def _kind_of_zip(path: Path, names: Sequence[str]) -> str:
    for kind, pattern in _IN_ZIP.items():
        if any(re.match(pattern, name) for name in names):
            return kind
    return "zip"


def _members(path: Path, file: IO[bytes]) -> list[ZipInfo]:
    """The files in an archive, without what macOS adds."""
    try:
        with ZipFile(file) as archive:
            members = [it for it in archive.infolist() if not it.is_dir()]
    except BadZipFile as error:
        raise _damaged(path, error) from error
    finally:
        file.seek(0)
    return [it for it in members if not re.match(r"__MACOSX/|(.*/)?\.DS_Store$", it.filename)]


def _unzip(path: Path, stream: IO[bytes]) -> IO[bytes]:
    if not stream.seekable():
        raise SourceError(f"{path} is a zip archive inside another archive; unpack it and name the file inside")
    members = _members(path, stream)
    if len(members) != 1:
        names = ", ".join(it.filename for it in members[:5]) + (", ..." if len(members) > 5 else "")
        raise SourceError(
            f"{path} is a zip archive of {len(members)} files ({names}); unpack it with `unzip {path}` and name one"
        )
    try:
        return ZipFile(stream).open(members[0])
    except (RuntimeError, NotImplementedError) as error:  # a password; an unusual method
        raise SourceError(f"{path} cannot be unpacked here ({error}); unpack it and name the file inside") from error


_UNPACK: dict[str, Callable[[Path, Any], Any]] = {
    "gzip": lambda path, stream: gzip.GzipFile(fileobj=stream),
    "bz2": lambda path, stream: bz2.BZ2File(stream),
    "xz": lambda path, stream: lzma.LZMAFile(stream),  # noqa: SIM115
    "zstd": lambda path, stream: pa.CompressedInputStream(pa.PythonFile(stream, "r"), "zstd"),
    "zip": _unzip,
}


def _damaged(path: Path, error: Exception) -> SourceError:
    return SourceError(f"{path} is damaged or ends too early ({error}); download or pack it again")


class _Unpacked(io.RawIOBase):
    """The bytes that come out of an archive, up to what so much of it may hold."""

    def __init__(self, path: Path, inner: Any, packed: Any, raw: io.RawIOBase) -> None:
        self._path, self._inner, self._packed, self._raw = path, inner, packed, raw
        self._count = 0  # bytes that came out so far

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            block = self._inner.read(min(len(buffer), _BLOCK))
        except SourceError:
            raise
        except (EOFError, OSError, zlib.error, lzma.LZMAError, BadZipFile) as error:
            raise _damaged(self._path, error) from error
        self._count += len(block)
        check_unpacked(self._path, self._raw.tell(), self._count)
        buffer[: len(block)] = block
        return len(block)

    def close(self) -> None:
        if not self.closed:
            self._inner.close()
            self._packed.close()
        super().close()


class _Text(io.RawIOBase):
    """Bytes of an encoding as UTF-8 with plain line ends, as long as its lines have a sensible length."""

    def __init__(self, path: Path, inner: Any, encoding: str) -> None:
        self._path, self._inner, self._encoding = path, inner, encoding.removesuffix("-sig")
        self._decode = codecs.getincrementaldecoder(encoding)().decode
        self._plain_ends = io.IncrementalNewlineDecoder(None, translate=True)
        self._lines = 0  # line ends so far
        self._open = 0  # bytes since the last of them
        self._ready = b""
        self._at_end = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready and not self._at_end:
            self._ready = self._next_block()
        block, self._ready = self._ready[: len(buffer)], self._ready[len(buffer) :]
        buffer[: len(block)] = block
        return len(block)

    def _next_block(self) -> bytes:
        packed = self._inner.read1(_BLOCK)
        self._at_end = not packed
        try:
            text = self._decode(packed, self._at_end)
        except UnicodeDecodeError as error:
            line = self._lines + error.object[: error.start].count(b"\n") + 1
            raise EncodingError(
                f"{self._path}, line {line} is not {self._encoding.upper()} (byte 0x{error.object[error.start]:02x}); "
                f"if it is Latin-1, convert it with `iconv -f LATIN1 -t UTF-8 {self._path} > utf8.txt`"
            ) from error
        block = self._plain_ends.decode(text, self._at_end).encode()
        ends = block.count(b"\n")
        self._check_length(self._open + (block.find(b"\n") if ends else len(block)))
        self._open = len(block) - 1 - block.rfind(b"\n") if ends else self._open + len(block)
        self._lines += ends
        return block

    def _check_length(self, length: int) -> None:
        if length > LINE_LIMIT:
            raise SourceError(
                f"{self._path}, line {self._lines + 1} has more than {LINE_LIMIT:,} bytes, the most that a line may "
                "have; check that the file is what you think"
            )

    def close(self) -> None:
        if not self.closed:
            self._inner.close()
        super().close()
