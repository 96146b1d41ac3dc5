"""Artifacts beside a model that it was made of."""

from pathlib import Path

import pytest
import torch

from recbole_tslrec.serving.parents import find_parent
from recbole_tslrec.store.artifacts import Artifact, ArtifactError, Recipe, Store, write_item_table


def test_a_copy_is_found_beside_a_damaged_parent(tmp_path: Path) -> None:
    store = Store(tmp_path / "artifacts")

    def write(folder: Path) -> None:
        write_item_table(folder, ["x"], {"knowledge": torch.ones(1)})

    def build(kind: str, recipe: Recipe) -> Artifact:
        return store.build(kind, recipe, write)

    copies = [build("sft", Recipe({"number": number})) for number in (1, 2)]
    child = build("knowledge", Recipe({}, {"sft": copies[0].hash}))
    damaged, whole = sorted(copies, key=lambda copy: copy.folder)
    (damaged.folder / "item_tokens.json").write_text("[]")
    assert find_parent(child, "sft").folder == whole.folder
    (whole.folder / "item_tokens.json").write_text("[]")
    with pytest.raises(ArtifactError, match="differs from its hash"):
        find_parent(child, "sft")
