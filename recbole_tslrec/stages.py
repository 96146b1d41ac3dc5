"""A run of the stages: what it has found or built so far, and how a stage finds or builds its artifact."""

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from logging import getLogger
from pathlib import Path
from typing import Any

from recbole_tslrec import distributed
from recbole_tslrec.artifacts import Artifact, Recipe, Store, open_artifact
from recbole_tslrec.data import Data

STAGES = ("backbone", "item_embeddings", "groups", "targets", "sft", "knowledge", "recommender", "evaluation")
# what each family fuses into the item embedding, and the key that says how
FUSED_TABLES = {"TSLRec": ("knowledge", "fusion_type"), "CI": ("groups", "ci_fusion_type")}


@dataclass
class Run:
    """One run: its configuration and data, and what its stages have left so far.

    Attributes:
        config: of the model that is asked for.
        data: its dataset.
        store: where artifacts are kept.
        rebuild: stages to build anew even if nothing changed.
        artifacts: by stage; evaluations by ``evaluation/<model>``.
        seconds: spent in each stage now; what is reused costs almost nothing.
        reused: whether each stage's artifact was found.
    """

    config: Any
    data: Data
    store: Store
    rebuild: Collection[str] = ()
    artifacts: dict[str, Artifact] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    reused: dict[str, bool] = field(default_factory=dict)

    def recipe(self, settings: Mapping[str, Any], parents: Collection[str] = ()) -> Recipe:
        """What an artifact of this run depends on."""
        parent_hashes = {parent: self.artifacts[parent].hash for parent in parents}
        return Recipe({"seed": self.config["seed"], **settings}, parent_hashes, self.data.description)

    def stage(
        self,
        kind: str,
        what: str,
        write: Callable[[Path], Mapping[str, Any] | None],
        settings: Mapping[str, Any],
        parents: Collection[str] = (),
        name: str | None = None,
        shared: bool = False,
    ) -> Artifact:
        """Find or build the artifact of a stage, and say which before it starts; see :meth:`Store.build`."""
        name = name or kind
        recipe = self.recipe(settings, parents)
        started = time.perf_counter()
        artifact = None if kind in self.rebuild else self.store.find(kind, recipe)
        self.reused[name] = distributed.from_main(artifact is not None)
        label = f"[{STAGES.index(kind) + 1}/{len(STAGES)} {name}]"
        if self.reused[name]:
            artifact = artifact or open_artifact(self.store.folder(kind, recipe), kind)
            getLogger().info(f"{label} {what}: reused from {artifact.folder} (took {artifact.seconds:.1f} s)")
        else:
            getLogger().info(f"{label} {what}: building {self.store.folder(kind, recipe)}")
            device = str(self.config["device"])
            artifact = self.store.build(kind, recipe, write, self.config["seed"], device, shared)
        self.artifacts[name] = artifact
        self.seconds[name] = time.perf_counter() - started
        return artifact
