"""A stage as data: its settings, its parents and what builds its artifact from them, and from nothing else."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from recbole_tslrec.data.dataset import Data
from recbole_tslrec.store.artifacts import Artifact
from recbole_tslrec.store.contents import ContentHashes

# in the paper's order
KINDS = (
    "backbone",
    "item_embeddings",
    "index",
    "groups",
    "targets",
    "sft",
    "knowledge",
    "llm_task",
    "recommender",
    "retriever",
    "ranker",
    "evaluation",
)


class HasRecipe(Protocol):
    """Settings of any kind."""

    def recipe(self) -> dict[str, Any]:
        """The keys that decide the result, and their values."""


@dataclass(frozen=True)
class Inputs:
    """What a stage may read beside its settings.

    Attributes:
        data: the dataset.
        parents: the artifacts of its parents, by the name of the stage.
        loaded: what stages of the run have loaded of artifacts, by the hash of the artifact.
    """

    data: Data
    parents: Mapping[str, Artifact]
    loaded: dict[str, Any] = field(default_factory=dict)

    def load_once(self, artifact: Artifact, load: Callable[[], Any]) -> Any:
        """What ``load`` gives of an artifact; called once in a run."""
        if artifact.hash not in self.loaded:
            self.loaded[artifact.hash] = load()
        return self.loaded[artifact.hash]


def _no_contents(data: Data, hashes: ContentHashes) -> dict[str, str]:
    return {}


@dataclass(frozen=True)
class Stage:
    """One stage of a run.

    Attributes:
        kind: the kind of its artifact, one of :data:`KINDS`.
        about: what it does, for the line that says that it starts.
        settings: what it reads of the configuration; :func:`build` has them from here.
        parents: the names of the stages whose artifacts it reads.
        build: writes the artifact's files into a folder; what it returns goes into the manifest as ``report``.
        contents: hashes of other files that it reads.
        check: what would make it fail, found before any stage is built.
        remark: what is to be said of the artifact, found or built, such as a warning.
        shared: whether all processes take part, and go on with what an interrupted attempt has left.
        part: which one it is, where a model reads several artifacts of the kind.
    """

    kind: str
    about: str
    settings: HasRecipe
    parents: tuple[str, ...]
    build: Callable[[Inputs, Path], Mapping[str, Any] | None]
    contents: Callable[[Data, ContentHashes], Mapping[str, str]] = _no_contents
    check: Callable[[Data], None] = field(default=lambda data: None)
    remark: Callable[[Artifact], None] = field(default=lambda artifact: None)
    shared: bool = False
    part: str = ""

    @property
    def name(self) -> str:
        """What it is called by: its kind, or ``knowledge of tfidf`` where there are several."""
        return name_of(self.kind, self.part)


def name_of(kind: str, part: str = "") -> str:
    """The name of a stage of a kind."""
    return f"{kind} of {part}" if part else kind
