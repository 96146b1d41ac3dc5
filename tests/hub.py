"""A stand-in for the Hugging Face hub on this machine: the part of its HTTP interface that huggingface_hub needs here.

It keeps repositories in memory, each commit with all its files, and takes every file as part of the commit (no LFS).
"""

import base64
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

TOKEN = "hf_of_the_tests"


class Hub:
    """The server and what it holds.

    Attributes:
        commits: by repository and hash of the commit, files by name.
        refs: by repository, the commit of each branch or tag.
        requests: method and path of all requests.
        written: the repositories that were made through the interface.
    """

    def __init__(self) -> None:
        self.commits: dict[str, dict[str, dict[str, bytes]]] = {}
        self.refs: dict[str, dict[str, str]] = {}
        self.requests: list[tuple[str, str]] = []
        self.written: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        self.address = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        """From now on nobody answers."""
        self._server.shutdown()
        self._server.server_close()

    def commit(self, repo: str, files: dict[str, bytes], ref: str = "main") -> str:
        """Put files into a repository; the hash of the commit."""
        known = {**self.commits.get(repo, {}).get(self.refs.get(repo, {}).get(ref, ""), {}), **files}
        names = json.dumps([[name, hashlib.sha256(known[name]).hexdigest()] for name in sorted(known)])
        commit = hashlib.sha1(f"{repo} {names}".encode()).hexdigest()
        self.commits.setdefault(repo, {})[commit] = known
        self.refs.setdefault(repo, {})[ref] = commit
        return commit

    def files(self, repo: str, revision: str = "main") -> dict[str, bytes]:
        """What a revision holds."""
        return self.commits[repo][self.refs[repo].get(revision, revision)]


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._answer(b"")

    def do_HEAD(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

    def _answer(self, body: bytes) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append((self.command, path))
        for method, pattern, answer in _ROUTES:
            found = re.fullmatch(pattern, path)
            if method == ("GET" if self.command == "HEAD" else self.command) and found:
                return answer(self, body, **found.groupdict())
        return self._fail(404, "EntryNotFound")

    def _commit_of(self, repo: str, revision: str) -> str | None:
        if repo not in self.hub.commits:
            self._fail(404, "RepoNotFound")
            return None
        commit = self.hub.refs[repo].get(revision, revision)
        if commit not in self.hub.commits[repo]:
            self._fail(404, "RevisionNotFound")
            return None
        return commit

    def _info(self, body: bytes, repo: str, revision: str = "main") -> None:
        commit = self._commit_of(repo, revision)
        if commit:
            files = [{"rfilename": name} for name in self.hub.commits[repo][commit]]
            self._json({"id": repo, "sha": commit, "siblings": files, "private": False, "tags": [], "downloads": 0})

    def _tree(self, body: bytes, repo: str, revision: str) -> None:
        commit = self._commit_of(repo, revision)
        if commit:
            files = self.hub.commits[repo][commit].items()
            self._json([{"type": "file", "path": name, "size": len(held), "oid": _oid(held)} for name, held in files])

    def _resolve(self, body: bytes, repo: str, revision: str, name: str) -> None:
        commit = self._commit_of(repo, revision)
        if commit:
            held = self.hub.commits[repo][commit].get(name)
            if held is None:
                return self._fail(404, "EntryNotFound")
            self._send(200, held, {"ETag": f'"{_oid(held)}"', "X-Repo-Commit": commit})

    def _create(self, body: bytes) -> None:
        if not self._may_write():
            return None
        asked = json.loads(body)
        repo = f"{asked['organization']}/{asked['name']}" if asked.get("organization") else asked["name"]
        if repo in self.hub.commits:
            return self._json({"error": "You already created it", "url": f"{self.hub.address}/{repo}"}, 409)
        self.hub.commit(repo, {".gitattributes": b""})
        self.hub.written.append(repo)
        self._json({"url": f"{self.hub.address}/{repo}"})

    def _preupload(self, body: bytes, repo: str, revision: str) -> None:
        files = json.loads(body)["files"]
        self._json({"files": [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files]})

    def _push(self, body: bytes, repo: str, revision: str) -> None:
        if self._may_write():
            lines = [json.loads(line) for line in body.splitlines()]
            values = [line["value"] for line in lines if line["key"] == "file"]
            commit = self.hub.commit(repo, {each["path"]: base64.b64decode(each["content"]) for each in values})
            self._json({"commitUrl": f"{self.hub.address}/{repo}/commit/{commit}", "commitOid": commit})

    def _may_write(self) -> bool:
        if self.headers.get("Authorization") == f"Bearer {TOKEN}":
            return True
        self._fail(401, "", "Invalid username or password.")
        return False

    def _valid(self, body: bytes) -> None:
        self._json({"errors": [], "warnings": []})

    def _fail(self, status: int, code: str, error: str = "no") -> None:
        self._send(status, json.dumps({"error": error}).encode(), {"X-Error-Code": code, "X-Error-Message": error})

    def _json(self, value: Any, status: int = 200) -> None:
        self._send(status, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _oid(held: bytes) -> str:
    return hashlib.sha1(held).hexdigest()


_REPO = r"(?P<repo>[^/]+/[^/]+)"
_ROUTES: list[tuple[str, str, Any]] = [
    ("GET", rf"/api/models/{_REPO}", _Handler._info),
    ("GET", rf"/api/models/{_REPO}/revision/(?P<revision>.+)", _Handler._info),
    ("GET", rf"/api/models/{_REPO}/tree/(?P<revision>[^/]+)", _Handler._tree),
    ("GET", rf"/{_REPO}/resolve/(?P<revision>[^/]+)/(?P<name>.+)", _Handler._resolve),
    ("POST", r"/api/repos/create", _Handler._create),
    ("POST", rf"/api/models/{_REPO}/preupload/(?P<revision>.+)", _Handler._preupload),
    ("POST", rf"/api/models/{_REPO}/commit/(?P<revision>.+)", _Handler._push),
    ("POST", r"/api/validate-yaml", _Handler._valid),
]
