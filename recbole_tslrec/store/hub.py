"""Files of a repository of the Hugging Face hub: fetched at one commit, or pushed as one.

huggingface_hub does the work, with its cache, its token and its ``HF_*`` variables. It is imported when it is needed.
"""

import errno
import glob
import re
from collections.abc import Callable, Collection
from logging import getLogger
from pathlib import Path
from typing import Any, NamedTuple

_ADDRESS = re.compile(r"hf:/{1,2}(?P<repo>[^/@]+/[^/@]+)(@(?P<revision>[^/]+))?(/(?P<file>.+))?")  # Path drops a slash
# a full disk or a folder that may not be written to: not the network's fault
_OF_THIS_MACHINE = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO)
_FORM = "hf://<owner>/<name>[@<revision>][/<file>]"


class HubError(RuntimeError):
    """The hub cannot give or take something; the message says why and what to do."""


class HubAddress(NamedTuple):
    """What ``hf://owner/name@revision/file`` names.

    Attributes:
        repo: owner and name.
        revision: a branch, a tag or a commit.
        file: one of its files; empty for what the repository is about.
    """

    repo: str
    revision: str
    file: str

    def __str__(self) -> str:
        return f"hf://{self.repo}@{self.revision}" + (f"/{self.file}" if self.file else "")


def is_hub_address(path: str | Path) -> bool:
    """Whether a path is taken for an address on the hub."""
    return str(path).startswith("hf:/")


def parse_hub_address(text: str | Path) -> HubAddress:
    """The parts of an address; without a revision, ``main``.

    Raises:
        HubError: it has another form.
    """
    found = _ADDRESS.fullmatch(str(text))
    if not found:
        raise HubError(f"[{text}] is no address on the hub; write {_FORM}")
    return HubAddress(found["repo"], found["revision"] or "main", found["file"] or "")


def fetch(address: HubAddress, choose: Callable[[Collection[str]], Collection[str]]) -> tuple[Path, list[str]]:
    """Some files of a repository, all of one commit; those of the cache where there is no network.

    Args:
        address: which; its ``file`` does not count.
        choose: of the names of all files those that are wanted.

    Returns:
        The folder of the commit, whose name is the commit's hash, and the names that were chosen.

    Raises:
        HubError: there is no such repository or revision, the token may not read it, or there is no network and the
            cache lacks it.
        ImportError: huggingface_hub is not installed.
        OSError: the cache cannot be written to.
    """
    hub = _library()
    try:
        info = hub.HfApi().repo_info(address.repo, revision=address.revision)
        names = list(choose([each.rfilename for each in info.siblings or []]))
        patterns = [glob.escape(name) for name in names]
        folder = Path(hub.snapshot_download(address.repo, revision=address.revision, allow_patterns=patterns))
    except HubError:
        raise
    except Exception as error:  # of whatever HTTP library the client uses
        if isinstance(error, OSError) and error.errno in _OF_THIS_MACHINE:
            raise
        if _was_answered(hub, error):
            raise _said(hub, error, address) from error
        folder = _cached(hub, address, error)
        names = list(choose([path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]))
    getLogger().info(f"{address}: commit {folder.name}, in {folder}")
    return folder, names


def push(folder: Path, repo: str, message: str) -> str:
    """Make the repository where it does not exist, and push the files of a folder as one commit.

    Returns:
        The hash of the commit.

    Raises:
        HubError: the name is wrong, or the token may not write there, or the hub cannot be reached.
        ImportError: huggingface_hub is not installed.
    """
    hub, address = _library(), HubAddress(repo, "main", "")
    try:
        api = hub.HfApi()
        api.create_repo(repo, exist_ok=True)
        return str(api.upload_folder(repo_id=repo, folder_path=folder, commit_message=message).oid)
    except Exception as error:
        raise _said(hub, error, address) from error


def check_can_push(repo: str) -> None:
    """Refuse what could not be pushed, before anything is written.

    Raises:
        HubError: the name has another form, or there is no token.
        ImportError: huggingface_hub is not installed.
    """
    hub = _library()
    if parse_hub_address(f"hf://{repo}") != HubAddress(repo, "main", ""):
        raise HubError(f"[{repo}] names no repository; write <owner>/<name>")
    if hub.get_token() is None:
        raise HubError(f"there is no token to push to [{repo}] with; log in with: hf auth login, or set HF_TOKEN")


def _library() -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise ImportError(
            "the hub needs huggingface_hub; install it with: pip install 'recbole_tslrec[hub]'"
        ) from error
    return huggingface_hub


def _was_answered(hub: Any, error: Exception) -> bool:
    """Whether the hub, or the check of the name, has refused; otherwise it was not reached."""
    return isinstance(error, hub.errors.HfHubHTTPError | hub.errors.HFValidationError)


def _cached(hub: Any, address: HubAddress, why: Exception) -> Path:
    """The folder of the commit that the cache has of a revision."""
    try:
        return Path(hub.snapshot_download(address.repo, revision=address.revision, local_files_only=True))
    except Exception as error:
        raise HubError(
            f"{address} cannot be fetched, the hub was not reached ({_first_line(why)}), and the cache does not have "
            f"it; go online, or fetch it before: hf download {address.repo} --revision {address.revision}"
        ) from error


def _said(hub: Any, error: Exception, address: HubAddress) -> HubError:
    """What an error of the client means, and what to do."""
    errors, status = hub.errors, getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, errors.GatedRepoError):
        return HubError(f"{address} is gated; ask for access on its page, then log in with: hf auth login")
    if isinstance(error, errors.RepositoryNotFoundError):
        return HubError(
            f"the hub has no repository [{address.repo}], or it is a private one that your token cannot see; check the "
            "name, or log in with: hf auth login (or set HF_TOKEN)"
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return HubError(f"[{address.repo}] has no revision [{address.revision}]; give a branch, a tag or a commit")
    if isinstance(error, errors.HFValidationError):
        return HubError(f"[{address.repo}] cannot be the name of a repository ({_first_line(error)}); write {_FORM}")
    if status in (401, 403):
        return HubError(
            f"the hub refused [{address.repo}] ({status}): the token is wrong, or may not write there; make one with "
            "write access, then: hf auth login (or set HF_TOKEN)"
        )
    return HubError(f"[{address.repo}]: the hub did not do it ({_first_line(error)}); try again later")


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), "") or type(error).__name__
