"""A web server on the loopback address."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


class Web:
    """What a server holds, how it behaves, and what it was asked for.

    Attributes:
        files: contents by name.
        version: the ETag of all of them.
        status: an answer instead of the file, by name.
        moved: another name, by name.
        knows_ranges: whether a part of a file can be asked for.
        breaks_after: bytes after which the coming answers break off, one after the other.
        names_length: whether the length of the file is said beforehand.
        asked: name and range of each request.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.version = '"1"'
        self.status: dict[str, int] = {}
        self.moved: dict[str, str] = {}
        self.knows_ranges = True
        self.breaks_after: list[int] = []
        self.names_length = True
        self.asked: list[tuple[str, str | None]] = []
        self.address = ""

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        name, wanted = request.path.rpartition("/")[2], request.headers["Range"]
        self.asked.append((name, wanted))
        if name in self.moved:
            request.send_response(302)
            request.send_header("Location", f"{self.address}{self.moved[name]}")
            request.end_headers()
        elif name in self.status or name not in self.files:
            request.send_error(self.status.get(name, 404))
        else:
            self._send(request, self.files[name], wanted)

    def _send(self, request: BaseHTTPRequestHandler, content: bytes, wanted: str | None) -> None:
        first = 0
        if wanted and self.knows_ranges and request.headers["If-Range"] in (None, self.version):
            first = int(wanted.removeprefix("bytes=").rstrip("-"))
            if first >= len(content):
                request.send_error(416)
                return
        request.send_response(206 if first else 200)
        request.send_header("ETag", self.version)
        if first:
            request.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        if self.names_length:
            request.send_header("Content-Length", str(len(content) - first))
        request.end_headers()
        end = first + self.breaks_after.pop(0) if self.breaks_after else None
        request.wfile.write(content[first:end])


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    """A server that serves ``web.files`` below ``web.address``, which ends with a slash."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    served = Web()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.answer(self)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        served.address = f"http://127.0.0.1:{server.server_port}/"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield served
        server.shutdown()
        thread.join()
