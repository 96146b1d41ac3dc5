"""A model's folder gives back the very model that was trained."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from recbole_tslrec.models.names import parse_model_name
from recbole_tslrec.pipeline.run import Run
from recbole_tslrec.serving.model_export import export
from recbole_tslrec.serving.recommend import recommend
from recbole_tslrec.serving.saved_model import DESCRIPTION, ModelFiles, load_model
from recbole_tslrec.settings import derive
from recbole_tslrec.store import artifacts
from recbole_tslrec.store.artifacts import ArtifactError, Recipe, Store
from recbole_tslrec.training.recommender import MODEL, build_model
from recbole_tslrec.training.weights import load_weights
from recbole_tslrec.version import __version__
from tests.serving.conftest import Fresh

Trained = Callable[..., Run]


def model_folder(run: Run) -> Path:
    return run.artifacts["recommender" if "recommender" in run.artifacts else "backbone"].folder


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("SASRec", {}),
        ("TSLRecSASRec", {}),
        ("CIGRU4Rec", {}),
        ("TSLRecFMLPRec", {}),
        ("TSLRecSASRec", {"fusion_pca_dimension": 4}),
        ("SASRec", {"train_mode": "all_positions", "loss_type": "sampled_softmax", "loss_negatives": 8}),
    ],
)
def test_scores_are_those_of_the_run_bit_by_bit(trained: Trained, name: str, settings: dict[str, Any]) -> None:
    assert_scores_come_back(trained(name, **settings))


def test_items_without_knowledge_come_back(trained: Trained, tmp_path: Path) -> None:
    """They share a learned default."""
    np.save(tmp_path / "vectors.npy", torch.randn(20, 5).numpy())
    (tmp_path / "tokens.txt").write_text("".join(f"i{item}\n" for item in range(20)))
    run = trained("TSLRecSASRec", knowledge_path=str(tmp_path / "vectors.npy"))
    assert any(name.endswith(".source.default") for name in load_file(model_folder(run) / MODEL))
    assert_scores_come_back(run)


def assert_scores_come_back(run: Run) -> None:
    table = parse_model_name(run.config["model"]).family.table
    path = {f"{table}_path": str(run.artifacts[table].folder)} if table else {}
    model: Any = build_model(derive(run.config, **path), run.data.loaders[0])
    load_weights(model, model_folder(run) / MODEL)
    users = next(iter(run.data.loaders[2]))[0]
    with torch.no_grad():
        expected = model.eval().full_sort_predict(users)
    saved = load_model(model_folder(run))
    assert torch.equal(saved.scores(users[model.ITEM_SEQ], users[model.ITEM_SEQ_LEN]), expected)
    assert saved.item_tokens == run.data.item_tokens


def test_scores_of_every_backbone_come_back_bit_by_bit(fresh: Fresh) -> None:
    """Those with features, entities, a mask row and users among them."""
    assert torch.equal(fresh.scores(load_model(fresh.artifact.folder).model), fresh.scores(fresh.model))


def test_the_description_does_not_say_where_it_was_made(trained: Trained) -> None:
    """So equal models have equal folders, and the folder can go to another machine."""
    run = trained("TSLRecSASRec")
    assert run.config["data_path"] not in (model_folder(run) / DESCRIPTION).read_text()
    assert run.config["artifacts_dir"] not in (model_folder(run) / DESCRIPTION).read_text()


def test_the_rows_of_knowledge_are_not_copied(trained: Trained) -> None:
    """The model has them where the file was mapped into memory."""
    files = ModelFiles.read(trained("TSLRecSASRec").artifacts["recommender"])
    (name,) = [name for name in files.weights if name.endswith(".source.knowledge")]
    assert files.build().model.state_dict()[name].data_ptr() == files.weights[name].data_ptr()


def test_a_model_needs_no_knowledge_artifact(trained: Trained, tmp_path: Path) -> None:
    """Its folder may be copied elsewhere, and the knowledge be removed."""
    folder = shutil.copytree(model_folder(trained("TSLRecSASRec")), tmp_path / "elsewhere" / "recommender-copy")
    assert recommend(folder, {"a": ["i3"]}) == recommend(model_folder(trained("TSLRecSASRec")), {"a": ["i3"]})
    assert export(folder, "safetensors", tmp_path / "table.safetensors").is_file()


def test_loading_leaves_the_random_stream_alone(trained: Trained) -> None:
    folder = model_folder(trained("TSLRecSASRec"))
    before = torch.get_rng_state()
    load_model(folder)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_folder_of_another_kind_is_refused(trained: Trained) -> None:
    with pytest.raises(ArtifactError, match=r"holds \[groups\], no trained model"):
        load_model(trained("TSLRecSASRec").artifacts["groups"].folder)


def test_a_folder_of_another_version_says_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as former:
        former.setattr(artifacts, "versions", lambda: {"recbole_tslrec": "0.0.9"})
        former.setattr(artifacts, "FORMAT_VERSION", 0)
        folder = Store(tmp_path).build("recommender", Recipe({}), lambda folder: None).folder
    with pytest.raises(ArtifactError, match=rf"format 0 of recbole_tslrec 0\.0\.9, this is {__version__} and reads"):
        load_model(folder)


def test_a_missing_weight_is_noticed(trained: Trained) -> None:
    files = ModelFiles.read(trained("TSLRecSASRec").artifacts["recommender"])
    without = {name: weight for name, weight in files.weights.items() if not name.endswith("gate.bias")}
    with pytest.raises(RuntimeError, match=r"fusion\.gate\.bias"):
        ModelFiles(files.description, files.item_tokens, {}, without).build()


def test_a_model_that_cannot_be_served_says_why() -> None:
    with pytest.raises(ValueError, match="DIN cannot be served: it reads more of its dataset than a saved model keeps"):
        ModelFiles({"model": "DIN"}, [], {}, {}).build()
