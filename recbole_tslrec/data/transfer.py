"""A file from its address, whole or not at all; a transfer that was interrupted goes on where it stopped."""

import gzip
import shutil
import zlib
from collections.abc import Iterator
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, build_opener
from zipfile import BadZipFile, ZipFile

from tqdm import tqdm

from recbole_tslrec.data.content import SourceError
from recbole_tslrec.store.files import beside, hash_file, read_json, write_json
from recbole_tslrec.version import __version__

_TIMEOUT = 60.0  # seconds without a byte
_BLOCK = 1 << 20  # bytes
_ZIP = b"PK"  # how an archive begins
_REQUESTS = 10  # for one file; each but the first goes on where the one before broke off


class TransferError(SourceError):
    """A file did not come, not whole, or another one came."""


def fetch(url: str, path: Path, digest: str = "") -> None:
    """Fetch a file that is not there yet; one that is there is checked.

    It is written under another name and renamed when it is whole and right. Proxies are those of the environment.

    Args:
        url: its address, of http or https.
        path: where to put it.
        digest: ``md5:`` or ``sha256:`` and its hash; without one, its length and its own checksums are what is checked.

    Raises:
        TransferError: it did not come, or not whole: what came is kept for the next time. Or another file came, and was
            removed.
        SourceError: the file that is there is not the right one, or it would not fit on the disk.
    """
    if path.exists():
        if fault := _fault(path, digest):
            raise SourceError(f"{path} {fault}; delete it and run the same command again")
        return
    partial = beside(path, "partial")
    for request in range(1, _REQUESTS + 1):
        before = _size(partial)
        try:
            _transfer(url, partial, path.name)
            break
        except TransferError:
            if request == _REQUESTS or _size(partial) <= before:
                raise
    _origin(partial).unlink(missing_ok=True)
    if fault := _fault(partial, digest):
        partial.unlink()
        raise TransferError(f"what came {fault}; it was removed")
    partial.rename(path)


def _transfer(url: str, partial: Path, name: str) -> None:
    """One request: for the whole file or, if the server still has the same one, for the rest of it."""
    with _open(url, partial) as response:
        is_whole = response.status != 206  # it has changed, or the server knows no ranges
        have = 0 if is_whole else _size(partial)
        length = response.headers["Content-Length"]
        total = have + int(length) if length else None
        free = shutil.disk_usage(partial.parent).free
        if total is not None and total - have > free:
            raise SourceError(f"{url} has {total - have:,} bytes to come, but {partial.parent} has room for {free:,}")
        if is_whole:
            partial.unlink(missing_ok=True)
            write_json(_origin(partial), {"url": url, "version": _version(response)})
        with (
            partial.open("ab") as file,
            tqdm(total=total, initial=have, desc=name, unit="B", unit_scale=True, disable=None) as bar,
        ):
            for block in _blocks(response):
                bar.update(file.write(block))
    came = _size(partial)
    if total is not None and came < total:
        raise TransferError(f"it broke off after {came:,} of {total:,} bytes; run the same command again to go on")


def _open(url: str, partial: Path) -> HTTPResponse:
    request = Request(url, headers={"User-Agent": f"recbole_tslrec/{__version__}"})
    if version := _version_of(partial, url):
        request.add_header("Range", f"bytes={_size(partial)}-")
        request.add_header("If-Range", version)  # another version comes whole
    try:
        response: HTTPResponse = build_opener().open(request, timeout=_TIMEOUT)
    except HTTPError as error:
        error.close()
        if error.code == 416 and version:  # nothing is left to come: the file has become shorter
            partial.unlink()
            return _open(url, partial)
        raise TransferError(f"the server answers {error.code} {error.reason}") from error
    except URLError as error:
        raise TransferError(str(error.reason)) from error
    except (OSError, HTTPException) as error:
        raise TransferError(str(error) or type(error).__name__) from error
    if response.status == 206 and not response.headers.get("Content-Range", "").startswith(f"bytes {_size(partial)}-"):
        response.close()
        partial.unlink(missing_ok=True)
        raise TransferError("the server answers with another part of the file than it was asked for")
    return response


def _blocks(response: HTTPResponse) -> Iterator[bytes]:
    try:
        while block := response.read1(_BLOCK):
            yield block
    except (OSError, HTTPException) as error:
        why = str(error) or type(error).__name__
        raise TransferError(f"it broke off ({why}); run the same command again to go on") from error


def _version(response: HTTPResponse) -> str:
    """What tells this version of the file from another: a strong ETag, or the time of its last change."""
    tag: str = response.headers.get("ETag", "")
    return tag if tag.startswith('"') else response.headers.get("Last-Modified", "")


def _version_of(partial: Path, url: str) -> str:
    """The version that ``partial`` is the beginning of; empty where it cannot be gone on with."""
    origin = _origin(partial)
    if not (_size(partial) and origin.exists()):
        return ""
    written = read_json(origin)
    return str(written["version"]) if written["url"] == url else ""


def _origin(partial: Path) -> Path:
    return beside(partial, "json")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _fault(path: Path, digest: str) -> str:
    """What shows that a file is not the right one; empty where nothing does."""
    with path.open("rb") as file:
        head = file.read(256)
    if head.lstrip().lower().startswith((b"<!doctype html", b"<html")):
        return "is a web page, as of a network that wants a login, and not the file"
    if digest:
        kind, _, published = digest.partition(":")
        found = hash_file(path, kind)
        return f"has the {kind} {found}, not {published} as published" if found != published else ""
    try:
        if head.startswith(_ZIP):
            with ZipFile(path) as archive:
                return "is damaged" if archive.testzip() else ""
        with gzip.open(path) as unpacked:
            while unpacked.read(_BLOCK):
                pass
    except (BadZipFile, EOFError, OSError, zlib.error) as error:
        return f"is no whole archive ({error})"
    return ""
