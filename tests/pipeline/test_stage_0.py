"""The backbone: what its training depends on."""

from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from recbole_tslrec.configuration.config import Config
from recbole_tslrec.pipeline import stage_0
from recbole_tslrec.settings import derive
from recbole_tslrec.store.contents import ContentHashes

UNIFORM = {"distribution": "uniform", "sample_num": 1, "alpha": 1.0, "dynamic": False, "candidate_num": 0}


def configure(*argv: str, model: str = "SASRec", **settings: Any) -> Config:
    return Config(model, "toy", [], settings, argv)


def recipe(config: Any) -> dict[str, Any]:
    """Of the backbone's training."""
    return stage_0.backbone(config).settings.recipe()


def test_backbone_of_a_fused_model_is_the_plain_one() -> None:
    assert recipe(configure(model="TSLRecGRU4Rec"))["model"] == "GRU4Rec"


def test_backbone_keys_override_its_epochs_and_learning_rate() -> None:
    config = configure("--epochs=9", "--backbone_epochs=3", "--backbone_learning_rate=0.5", model="TSLRecSASRec")
    assert (recipe(config)["epochs"], recipe(config)["learning_rate"]) == (3, 0.5)


def test_backbone_without_keys_of_its_own_trains_like_the_model() -> None:
    found = recipe(configure("--epochs=9", "--learning_rate=0.25", model="TSLRecSASRec"))
    assert (found["epochs"], found["learning_rate"]) == (9, 0.25)


@pytest.mark.parametrize("model", ["CISASRec", "P2RecSASRec", "SASRec"])
def test_all_families_share_the_training_of_a_backbone(model: str) -> None:
    assert recipe(configure(model=model)) == recipe(configure(model="TSLRecSASRec"))


def test_the_checkpoint_that_s3rec_fine_tunes_counts_by_its_content(tmp_path: Path) -> None:
    checkpoint, hashes = tmp_path / "pre.safetensors", ContentHashes(tmp_path)
    data = mock.Mock(feature_contents=lambda _: {})

    def contents(text: str, **settings: str) -> dict[str, str]:
        checkpoint.write_text(text)
        stage = stage_0.backbone(configure(model="S3Rec", pre_model_path=str(checkpoint), **settings))
        return dict(stage.contents(data, hashes))

    one, other = (contents(text, train_stage="finetune") for text in ("one", "another"))
    assert one.keys() == other.keys() == {"pre_model"}
    assert one != other
    assert contents("one", train_stage="pretrain") == {}


def test_backbones_differ_in_training() -> None:
    assert recipe(configure(model="TSLRecGRU4Rec")) != recipe(configure(model="TSLRecSASRec"))


@pytest.mark.parametrize(
    "change",
    [{"show_progress": True}, {"gpu_id": "3"}, {"artifacts_dir": "elsewhere"}, {"sft_epochs": 99}, {"topk": [1]}],
    ids=lambda change: next(iter(change)),
)
def test_training_does_not_depend_on(change: dict[str, Any]) -> None:
    config = configure(show_progress=False)
    assert config[next(iter(change))] != next(iter(change.values()))
    assert recipe(derive(config, **change)) == recipe(config)


@pytest.mark.parametrize(
    "change",
    [
        {"learning_rate": 0.5},
        {"seed": 1},
        {"MAX_ITEM_LIST_LENGTH": 7},
        {"epochs": 2},
        {"minimum_epochs": 2},
        {"valid_users": 2},
        {"average_weights": True},
        {"n_layers": 1},
        {"valid_metric": "NDCG@5"},
        {"valid_history": "strict"},
        {"train_neg_sample_args": UNIFORM},
        {"eval_args": {"split": {"LS": "test_only"}}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_training_depends_on(change: dict[str, Any]) -> None:
    config = configure()
    assert recipe(derive(config, **change)) != recipe(config)
