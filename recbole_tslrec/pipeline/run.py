"""A run of stages: what it has found or built so far, and how a stage finds or builds its artifact."""

import sys
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from logging import getLogger
from pathlib import Path
from typing import Any

from recbole_tslrec.augmentation.vectors import listed_paths
from recbole_tslrec.compute import distributed
from recbole_tslrec.compute.memory import collect_leftovers
from recbole_tslrec.data.dataset import Data
from recbole_tslrec.pipeline.stage import KINDS, Inputs, Stage, name_of
from recbole_tslrec.pipeline.stage_list import REUSED, RUNNING, done, shows_progress, stage_list
from recbole_tslrec.settings import ConfigError, Settings, setting
from recbole_tslrec.store.artifacts import Artifact, Recipe, Store, open_artifact
from recbole_tslrec.store.contents import ContentHashes


def known_paths(key: str, value: Any) -> None:
    """Refuse what is neither a path nor a list of them."""
    if value is not None and not all(isinstance(path, str | Path) for path in listed_paths(value)):
        raise ConfigError(f"{key} must be a path or a list of several, not [{value}]")


def folder_name(key: str, value: Any) -> None:
    """Refuse what names no folder."""
    if not isinstance(value, str | Path) or not str(value).strip():
        raise ConfigError(f"{key} must be the name of a folder, not [{value}]")


@dataclass(frozen=True)
class ArtifactSettings(Settings):
    """Where artifacts lie, and which are given."""

    artifacts_dir: str = setting(neutral="where artifacts are stored", check=folder_name)
    """(str) The folder of the stages' results, one sub-folder per dataset."""
    knowledge_path: str | Sequence[str] | None = setting(
        neutral="what is given enters the recipe as a parent, by its content", check=known_paths
    )
    """(str or list) A knowledge artifact, or item vectors from any source; several stand side by side."""
    groups_path: str | None = setting(neutral="what is given enters the recipe as a parent, by its content")
    """(str) A groups artifact for a CI model to start from."""


@dataclass(frozen=True)
class Finished:
    """A stage that a run has found or built.

    Attributes:
        kind: the kind of the stage.
        part: which one of several of the kind; see :class:`recbole_tslrec.pipeline.stage.Stage`.
        row: the row of the table, for an evaluation; empty for other stages.
        artifact: what it left.
        seconds: spent in this run; what is reused costs almost nothing.
        reused: whether the artifact was found.
    """

    kind: str
    part: str
    row: str
    artifact: Artifact
    seconds: float
    reused: bool

    def __str__(self) -> str:
        return name_of(self.kind, self.row or self.part)


@dataclass
class Run:
    """One run: its configuration and data, and what its stages have left so far.

    Attributes:
        config: the configuration of the requested model; for the result's caption.
        data: its dataset.
        store: where artifacts are kept.
        hashes: the hashes of files that are no artifacts.
        rebuild: kinds of stages to rebuild even if nothing has changed.
        given: artifacts that were not made by stages of this run, but given by the user or found.
        finished: the finished stages, in the order in which they ended.
        loaded: see :class:`recbole_tslrec.pipeline.stage.Inputs`.
        planned: the names of the stages that the model needs, for the lines that say how far the run is; all if empty.
    """

    config: Any
    data: Data
    store: Store
    hashes: ContentHashes
    rebuild: Collection[str] = ()
    given: dict[str, Artifact] = field(default_factory=dict)
    finished: list[Finished] = field(default_factory=list)
    loaded: dict[str, Any] = field(default_factory=dict)
    planned: tuple[str, ...] = ()

    @property
    def artifacts(self) -> dict[str, Artifact]:
        """The artifacts that were given and those of finished stages, by the name of the stage; without evaluations."""
        return {**self.given, **{str(each): each.artifact for each in self.finished if not each.row}}

    @property
    def evaluations(self) -> dict[str, Artifact]:
        """The evaluations, by their row of the table."""
        return {each.row: each.artifact for each in self.finished if each.row}

    @property
    def reused(self) -> dict[str, bool]:
        """Whether the artifact of each finished stage was found, by ``str`` of :class:`Finished`."""
        return {str(each): each.reused for each in self.finished}

    def stage_list(self, running: str) -> str:
        """The planned stages with their states: done, reused, running or to do.

        Args:
            running: the name of the stage that begins.
        """
        states = {
            name_of(each.kind, each.part): REUSED if each.reused else done(each.seconds) for each in self.finished
        }
        return stage_list(self.planned or (running,), {**states, running: RUNNING})

    def recipe(self, stage: Stage) -> Recipe:
        """What the artifact of a stage depends on."""
        parents = {name: self.artifacts[name].hash for name in stage.parents}
        contents = stage.contents(self.data, self.hashes)
        return Recipe(stage.settings.recipe(), parents, self.data.description, contents)

    def finish(self, stage: Stage, row: str = "", prepare: Callable[[], None] = lambda: None) -> Artifact:
        """Find or build the artifact of a stage, and say which before it starts; see :meth:`Store.build`.

        Args:
            stage: whose parents have finished.
            row: the row of the table, for an evaluation.
            prepare: called before anything is built; not where the artifact is found.
        """
        started = time.perf_counter()
        recipe = self.recipe(stage)
        artifact = None if stage.kind in self.rebuild else self.store.find(stage.kind, recipe)
        reused = distributed.from_main(artifact is not None)
        folder = self.store.folder(stage.kind, recipe)
        names = self.planned or KINDS
        label = f"[{names.index(stage.name) + 1}/{len(names)} {name_of(stage.kind, row or stage.part)}]"
        if reused:
            artifact = artifact or open_artifact(folder, stage.kind)
            getLogger().info(f"{label} {stage.about}: reused from {artifact.folder} (took {artifact.seconds:.1f} s)")
        else:
            prepare()
            if shows_progress(self.config):
                sys.stderr.write(self.stage_list(running=stage.name))
            getLogger().info(f"{label} {stage.about}: building {folder}")
            inputs = Inputs(self.data, {name: self.artifacts[name] for name in stage.parents}, self.loaded)
            seed, device = self.config["seed"], str(self.config["device"])
            artifact = self.store.build(
                stage.kind, recipe, lambda partial: stage.build(inputs, partial), seed, device, stage.shared
            )
            collect_leftovers()
        stage.remark(artifact)
        self.finished.append(Finished(stage.kind, stage.part, row, artifact, time.perf_counter() - started, reused))
        return artifact
