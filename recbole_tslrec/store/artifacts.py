"""The result of a stage: a folder with safetensors, JSON and a manifest, found again by what it was made from.

A folder is written under another name and renamed when it is complete, so a reader never sees part of one. Nothing in
it is ever unpickled. Rows of items or users are matched by their external tokens, never by position.
"""

import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from recbole_tslrec.compute import distributed
from recbole_tslrec.store.files import (
    beside,
    hash_file,
    hash_files,
    hash_text,
    is_settled,
    read_json,
    replace_folder,
    room_for,
    settle_folder,
    share,
    write_json,
    write_tensors,
)
from recbole_tslrec.store.locks import locked, locked_on_all_machines
from recbole_tslrec.store.provenance import git_commit, peak_memory, versions
from recbole_tslrec.version import __version__

FORMAT_VERSION = 3  # of everything in an artifact's folder; one in another format is made anew
RECIPE_VERSION = 6  # part of every key; raised when a change of the code gives other results from the same recipe
# settings that say where contents lie; where those are in a recipe, they decide alone
PLACES = {"llm_name_or_path": "llm", "pre_model_path": "pre_model"}
MANIFEST = "manifest.json"
ITEM_TOKENS = "item_tokens.json"
TENSORS = "data.safetensors"
_SECONDS_TO_APPEAR = 60  # a file system over a network may remember for so long that a folder was not there
UNFINISHED = "unfinished"  # a sub-folder of what an interrupted attempt goes on with; no part of the artifact


class ArtifactError(RuntimeError):
    """An artifact is missing, damaged, of another kind or version, or lacks items."""


@dataclass(frozen=True)
class Recipe:
    """Everything that an artifact depends on; equal recipes make equal artifacts.

    Attributes:
        settings: the configuration keys that the stage reads and that can change its result.
        parents: content hash of every artifact that the stage reads, by its role.
        dataset: name, counts and fingerprint of the data.
        contents: hash of every other file that the stage reads, by its role.
    """

    settings: Mapping[str, Any]
    parents: Mapping[str, str] = field(default_factory=dict)
    dataset: Mapping[str, Any] = field(default_factory=dict)
    contents: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The hash under which the artifact is stored."""
        data = {"fingerprint": self.dataset.get("fingerprint")}
        settings = {name: value for name, value in self.settings.items() if PLACES.get(name) not in self.contents}
        inputs = {"settings": settings, "parents": self.parents, "contents": self.contents, "data": data}
        return _hash_json({**inputs, "format": FORMAT_VERSION, "version": RECIPE_VERSION})


@dataclass(frozen=True)
class Artifact:
    """A verified artifact folder.

    Attributes:
        folder: the folder.
        manifest: the contents of ``manifest.json``.
    """

    folder: Path
    manifest: Mapping[str, Any]

    @property
    def hash(self) -> str:
        """The hash of the contents: two artifacts with equal hashes are bit-equal, however they were made."""
        return _hash_json(self.manifest["files"])

    @property
    def seconds(self) -> float:
        """The wall-clock seconds that building it took."""
        return float(self.manifest["seconds"])

    def tensors(self) -> dict[str, Tensor]:
        """The tensors of ``data.safetensors``."""
        return load_file(str(self.folder / TENSORS))

    def json(self, name: str) -> Any:
        """The contents of one of its JSON files."""
        return read_json(self.folder / name)

    def item_tokens(self) -> list[str]:
        """The external item tokens, one for each row of an item tensor."""
        return [str(token) for token in self.json(ITEM_TOKENS)]


def open_artifact(
    folder: str | Path, kind: str | None = None, digest_of: Callable[[Path], str] = hash_file
) -> Artifact:
    """Read and verify an artifact folder.

    Args:
        folder: the folder.
        kind: what it has to be, e.g. ``knowledge``; ``None`` takes any.
        digest_of: the hash of a file's contents; that of a :class:`recbole_tslrec.store.contents.ContentHashes` reads a
            file only where its size or its time of change is another than when it was last hashed.

    Raises:
        ArtifactError: no such folder, no or unreadable manifest, another kind or format version, or a file that is
            missing or differs from its hash.
    """
    folder = Path(folder)
    again = f"--rebuild={kind or folder.name.partition('-')[0]}"
    try:
        manifest = read_json(folder / MANIFEST)
        files, found_kind, version = manifest["files"], manifest["kind"], manifest["format_version"]
        digest = manifest.pop("hash")
    except (FileNotFoundError, NotADirectoryError):
        raise ArtifactError(f"{folder} is no artifact folder: it has no {MANIFEST}; check the path") from None
    except (ValueError, KeyError, TypeError):
        raise ArtifactError(f"{folder / MANIFEST} is damaged; delete {folder} or rebuild it with {again}") from None
    if version != FORMAT_VERSION:
        raise ArtifactError(
            f"{folder} has artifact format {version} of recbole_tslrec "
            f"{manifest.get('versions', {}).get('recbole_tslrec')}, this is {__version__} and reads {FORMAT_VERSION}; "
            f"rebuild it with {again}"
        )
    if kind is not None and found_kind != kind:
        raise ArtifactError(f"{folder} holds [{found_kind}], not [{kind}]; give the folder of a [{kind}] artifact")
    if digest != _hash_json(manifest):
        raise ArtifactError(
            f"{folder / MANIFEST} was edited; delete {folder} or rebuild it with --rebuild={found_kind}"
        )
    for name, digest in files.items():
        path = folder / name
        if not path.is_file() or digest_of(path) != digest:
            state = "differs from its hash in the manifest" if path.is_file() else "is missing"
            raise ArtifactError(f"{path} {state}; delete {folder} or rebuild it with --rebuild={found_kind}")
    return Artifact(folder, manifest)


class Store:
    """The artifacts of one dataset, one folder each, named by kind and recipe.

    Args:
        root: the folder of them all.
        digest_of: see :func:`open_artifact`.
    """

    def __init__(self, root: str | Path, digest_of: Callable[[Path], str] = hash_file) -> None:
        self.root = Path(root)
        self.digest_of = digest_of

    def folder(self, kind: str, recipe: Recipe) -> Path:
        """Where an artifact of this kind and recipe lies or will lie."""
        return self.root / f"{kind}-{recipe.key[:12]}"

    def open(self, folder: Path, kind: str) -> Artifact:
        """See :func:`open_artifact`."""
        return open_artifact(folder, kind, self.digest_of)

    def find(self, kind: str, recipe: Recipe) -> Artifact | None:
        """The artifact of this kind and recipe, verified, or ``None`` where it was never finished."""
        folder = self.folder(kind, recipe)
        if not is_settled(folder) or (folder / UNFINISHED).exists():
            with locked(beside(folder, "lock")):  # not while another process is between its two renames
                settle_folder(folder)
                shutil.rmtree(folder / UNFINISHED, ignore_errors=True)
        return self.open(folder, kind) if folder.exists() else None

    def build(
        self,
        kind: str,
        recipe: Recipe,
        write: Callable[[Path], Mapping[str, Any] | None],
        seed: int = 0,
        device: str = "cpu",
        shared: bool = False,
    ) -> Artifact:
        """Make an artifact and put it into place when it is whole; a former one stays intact until then.

        Args:
            kind: what it is, e.g. ``knowledge``.
            recipe: what it is made from.
            write: writes the files into the folder that it is given, in which the sub-folder ``unfinished`` holds what
                an interrupted attempt has left there, and nothing else; what it returns goes into the manifest as
                ``report``. If it fails, that folder stays for a look.
            seed: for the manifest.
            device: for the manifest.
            shared: whether all processes take part in ``write``; otherwise the others wait for the main one.

        Raises:
            OSError: the lock does not hold other processes off, or there is no room.
        """
        folder = self.folder(kind, recipe)
        partial = beside(folder, "partial")
        self.root.mkdir(parents=True, exist_ok=True)
        existed = folder.exists()
        lock = beside(folder, "lock")
        with locked_on_all_machines(lock) if distributed.is_main() else nullcontext(lambda: None) as end_alone:
            if distributed.from_main(folder.exists() and not existed):
                end_alone()
                return self.open(folder, kind)  # somebody else made it while this process waited
            if distributed.is_main():
                _empty(partial)
            distributed.wait_for_everyone()
            _wait_for(partial)
            started = time.perf_counter()
            with room_for(folder):
                report = write(partial) if shared or distributed.is_main() else None
                distributed.wait_for_everyone()
                if distributed.is_main():
                    end_alone()
                    facts = {"seed": seed, "device": device, "report": report or {}}
                    self._finish(folder, kind, recipe, started, facts)
            distributed.wait_for_everyone()
            _wait_for(folder)
        return self.open(folder, kind)

    def _finish(self, folder: Path, kind: str, recipe: Recipe, started: float, facts: Mapping[str, Any]) -> None:
        """Write the manifest into the partial folder and put it into place."""
        partial = beside(folder, "partial")
        share(partial)
        manifest = {
            "kind": kind,
            "format_version": FORMAT_VERSION,
            "key": recipe.key,
            "settings": dict(recipe.settings),
            "parents": dict(recipe.parents),
            "contents": dict(recipe.contents),
            "dataset": dict(recipe.dataset),
            "versions": versions(),
            "git_commit": git_commit(),
            "seconds": round(time.perf_counter() - started, 3),
            "peak_memory_bytes": peak_memory(str(facts["device"])),
            "processes": distributed.process_count(),
            "threads": torch.get_num_threads(),
            **facts,
            "files": hash_files(partial, without=UNFINISHED),
        }
        write_manifest(partial, manifest)
        replace_folder(partial, folder)
        shutil.rmtree(folder / UNFINISHED, ignore_errors=True)


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write what an artifact's manifest says, with its hash."""
    manifest = json.loads(json.dumps(manifest, default=str))  # as it will be read
    write_json(folder / MANIFEST, {**manifest, "hash": _hash_json(manifest)})


def _wait_for(folder: Path) -> None:
    """Wait until every process sees a folder of the main one.

    Raises:
        ArtifactError: one does not, since it is on a node with a disk of its own; raised in all of them.
    """
    deadline = time.monotonic() + _SECONDS_TO_APPEAR
    while not folder.is_dir() and time.monotonic() < deadline:
        time.sleep(0.5)
    blind = [str(rank) for rank, sees in enumerate(distributed.gather(folder.is_dir())) if not sees]
    if blind:
        raise ArtifactError(
            f"{folder.absolute()} of the main process is not there for process {', '.join(blind)}; several nodes need "
            "one artifacts_dir on a file system that all of them share"
        )


def _empty(partial: Path) -> None:
    """Leave of an interrupted attempt only what it goes on with."""
    (partial / UNFINISHED).mkdir(parents=True, exist_ok=True)
    for path in partial.iterdir():
        if path.is_dir() and path.name != UNFINISHED:
            shutil.rmtree(path)
        elif path.is_file():
            path.unlink()


def write_item_table(folder: Path, tokens: Sequence[str], tensors: Mapping[str, Tensor]) -> None:
    """Write tensors whose rows stand for items, with the items' external tokens.

    Args:
        folder: the artifact's folder.
        tokens: N external item tokens.
        tensors: by name; those with N rows belong to the items.
    """
    write_json(folder / ITEM_TOKENS, list(tokens))
    write_tensors(folder / TENSORS, tensors)


def rows_of_tokens(table_tokens: Sequence[str], tokens: Sequence[str], source: str | Path) -> Tensor:
    """For each token its row in a table.

    Args:
        table_tokens: the token of each row of the table.
        tokens: the N tokens that are wanted.
        source: where the table comes from, for the error.

    Returns:
        Row numbers, int64 [N].

    Raises:
        ArtifactError: tokens are missing: the table was made from another dataset or with other filters.
    """
    rows = {token: row for row, token in enumerate(table_tokens)}
    missing = [token for token in tokens if token not in rows]
    if missing:
        raise ArtifactError(
            f"{source} lacks {len(missing)} of the dataset's {len(tokens)} items, the first is {missing[0]!r}: it was "
            "made from another dataset or with other filters; export it again from this dataset"
        )
    return torch.tensor([rows[token] for token in tokens], dtype=torch.int64)


def _hash_json(value: Any) -> str:
    return hash_text(json.dumps(value, sort_keys=True, default=str))
