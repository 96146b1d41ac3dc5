"""A file comes whole and right or not at all, and what came once is not fetched again."""

import gzip
import hashlib
import io
import shutil
import socket
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from recbole_tslrec.data import transfer
from recbole_tslrec.data.content import SourceError
from recbole_tslrec.data.transfer import TransferError, fetch

CONTENT = bytes(range(256)) * 40
TEXT = hashlib.sha512(CONTENT).hexdigest()  # hard to compress
DIGEST = f"md5:{hashlib.md5(CONTENT).hexdigest()}"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def zipped(**members: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return packed.getvalue()


def test_a_file_comes_whole_and_nothing_else_is_left(web: Any, tmp_path: Path) -> None:
    web.files["toy"] = CONTENT
    fetch(f"{web.address}toy", tmp_path / "toy", DIGEST)
    assert (tmp_path / "toy").read_bytes() == CONTENT
    assert names(tmp_path) == ["toy"]


def test_what_is_there_is_not_fetched(web: Any, tmp_path: Path) -> None:
    (tmp_path / "toy").write_bytes(CONTENT)
    fetch(f"{web.address}toy", tmp_path / "toy", DIGEST)
    assert web.asked == []


def test_what_is_there_must_be_right_too_and_is_left_to_its_owner(web: Any, tmp_path: Path) -> None:
    (tmp_path / "toy").write_bytes(b"other")
    with pytest.raises(SourceError, match=r"toy has the md5 \w+, not \w+ as published; delete it"):
        fetch(f"{web.address}toy", tmp_path / "toy", DIGEST)
    assert (tmp_path / "toy").read_bytes() == b"other"


def test_a_transfer_that_breaks_off_goes_on_by_itself(web: Any, tmp_path: Path) -> None:
    web.files["toy"], web.breaks_after = CONTENT, [4_000, 1_000]
    fetch(f"{web.address}toy", tmp_path / "toy", DIGEST)
    assert (tmp_path / "toy").read_bytes() == CONTENT
    assert web.asked == [("toy", None), ("toy", "bytes=4000-"), ("toy", "bytes=5000-")]


def interrupted(web: Any, tmp_path: Path) -> str:
    """The server breaks off after 4,000 bytes, and then sends none; gives the address."""
    web.files["toy"], web.breaks_after = CONTENT, [4_000, 0]
    with pytest.raises(TransferError, match=r"broke off after 4,000 of 10,240 bytes; run the same command again"):
        fetch(f"{web.address}toy", tmp_path / "toy", DIGEST)
    assert names(tmp_path) == ["toy.partial", "toy.partial.json"]
    web.asked.clear()
    return f"{web.address}toy"


def test_the_next_call_asks_for_the_missing_bytes_only(web: Any, tmp_path: Path) -> None:
    fetch(interrupted(web, tmp_path), tmp_path / "toy", DIGEST)
    assert (tmp_path / "toy").read_bytes() == CONTENT
    assert web.asked == [("toy", "bytes=4000-")]
    assert names(tmp_path) == ["toy"]


def test_another_version_is_fetched_from_the_beginning(web: Any, tmp_path: Path) -> None:
    url = interrupted(web, tmp_path)
    web.files["toy"], web.version = CONTENT[::-1], '"2"'
    fetch(url, tmp_path / "toy", f"md5:{hashlib.md5(CONTENT[::-1]).hexdigest()}")
    assert (tmp_path / "toy").read_bytes() == CONTENT[::-1]


def test_a_part_from_another_address_is_not_gone_on_with(web: Any, tmp_path: Path) -> None:
    interrupted(web, tmp_path)
    web.files["mirror"] = CONTENT
    fetch(f"{web.address}mirror", tmp_path / "toy", DIGEST)
    assert web.asked == [("mirror", None)]
    assert (tmp_path / "toy").read_bytes() == CONTENT


def test_a_server_without_ranges_starts_again(web: Any, tmp_path: Path) -> None:
    url = interrupted(web, tmp_path)
    web.knows_ranges = False
    fetch(url, tmp_path / "toy", DIGEST)
    assert (tmp_path / "toy").read_bytes() == CONTENT


def test_a_file_that_has_become_shorter_than_its_part_starts_again(web: Any, tmp_path: Path) -> None:
    url = interrupted(web, tmp_path)
    web.files["toy"] = CONTENT[:100]
    fetch(url, tmp_path / "toy", f"md5:{hashlib.md5(CONTENT[:100]).hexdigest()}")
    assert web.asked == [("toy", "bytes=4000-"), ("toy", None)]


def test_a_weak_version_is_not_gone_on_with(web: Any, tmp_path: Path) -> None:
    """It says that two files mean the same, not that they are the same bytes."""
    web.files["toy"], web.version, web.breaks_after = CONTENT, 'W/"1"', [4_000]
    fetch(f"{web.address}toy", tmp_path / "toy", DIGEST)
    assert (tmp_path / "toy").read_bytes() == CONTENT
    assert web.asked == [("toy", None), ("toy", None)]


def test_a_wrong_hash_is_refused_and_removed(web: Any, tmp_path: Path) -> None:
    web.files["toy"] = b"other"
    with pytest.raises(TransferError, match=r"has the md5 \w+, not \w+ as published; it was removed"):
        fetch(f"{web.address}toy", tmp_path / "toy", DIGEST)
    assert names(tmp_path) == []


def test_the_page_of_a_login_is_told_from_a_file(web: Any, tmp_path: Path) -> None:
    web.files["toy"] = b"\n<!DOCTYPE html><p>Welcome to the hotel"
    with pytest.raises(TransferError, match="is a web page, as of a network that wants a login"):
        fetch(f"{web.address}toy", tmp_path / "toy", DIGEST)
    assert names(tmp_path) == []


@pytest.mark.parametrize("archive", [zipped(a=TEXT), gzip.compress(TEXT.encode())], ids=["zip", "gzip"])
def test_without_a_hash_an_archive_is_checked_by_its_own(web: Any, tmp_path: Path, archive: bytes) -> None:
    web.files["whole"], web.files["cut"] = archive, archive[:-9]
    web.files["changed"] = archive[:40] + bytes([archive[40] ^ 255]) + archive[41:]
    web.names_length = False
    fetch(f"{web.address}whole", tmp_path / "whole")
    for name in ("cut", "changed"):
        with pytest.raises(TransferError, match=r"what came is (no whole archive|damaged).*removed"):
            fetch(f"{web.address}{name}", tmp_path / name)
    assert names(tmp_path) == ["whole"]


@pytest.mark.parametrize(("status", "says"), [(404, "404 Not Found"), (500, "500 Internal Server Error")])
def test_an_answer_that_is_no_file_is_named(web: Any, tmp_path: Path, status: int, says: str) -> None:
    web.status["toy"] = status
    with pytest.raises(TransferError, match=says):
        fetch(f"{web.address}toy", tmp_path / "toy", DIGEST)
    assert names(tmp_path) == []
    assert len(web.asked) == 1


def test_a_redirection_is_followed_with_the_range(web: Any, tmp_path: Path) -> None:
    web.files["new"], web.moved["toy"], web.breaks_after = CONTENT, "new", [4_000]
    fetch(f"{web.address}toy", tmp_path / "toy", DIGEST)
    assert (tmp_path / "toy").read_bytes() == CONTENT
    assert web.asked == [("toy", None), ("new", None), ("toy", "bytes=4000-"), ("new", "bytes=4000-")]


def test_the_proxy_of_the_environment_is_used(web: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", web.address)
    web.files["toy"] = CONTENT
    fetch("http://far.invalid/toy", tmp_path / "toy", DIGEST)
    assert (tmp_path / "toy").read_bytes() == CONTENT


def test_no_server_is_said_at_once(web: Any, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(TransferError, match="refused"):
        fetch(f"http://127.0.0.1:{port}/toy", tmp_path / "toy", DIGEST)
    assert names(tmp_path) == []


def test_a_silent_server_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(transfer, "_TIMEOUT", 0.05)
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        pytest.raises(TransferError, match="timed out"),
    ):
        fetch(f"http://127.0.0.1:{silent.getsockname()[1]}/toy", tmp_path / "toy", DIGEST)


def test_a_file_that_the_disk_cannot_hold_is_refused_before_it_comes(
    web: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    web.files["toy"] = CONTENT
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10_000))
    with pytest.raises(SourceError, match=r"10,240 bytes to come, but .* has room for 10,000"):
        fetch(f"{web.address}toy", tmp_path / "toy", DIGEST)
    assert names(tmp_path) == []
