"""What is written again and again while a model trains leaves the rows of knowledge out; the artifact has them."""

import logging

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from recbole_tslrec.augmentation.knowledge import Knowledge
from recbole_tslrec.augmentation.projection import KnowledgeProjection
from recbole_tslrec.data.dataset import Data
from recbole_tslrec.store.step_checkpoints import Clock, latest_step_checkpoint
from recbole_tslrec.training.recommender import MODEL, RecommenderTrainer, train_recommender
from recbole_tslrec.training.weights import hash_of_frozen, load_weights, write_trained_weights

ITEMS, WIDTH = 30, 5


def knowledge(seed: int = 0) -> Knowledge:
    rows = torch.randn(ITEMS + 1, WIDTH, generator=torch.Generator().manual_seed(seed))
    return Knowledge(rows, torch.arange(ITEMS + 1) > 0)


def model(seed: int = 0) -> nn.Module:
    """Two tables that fuse the same knowledge, one of them under two names."""
    known = knowledge(seed).standardised()
    table = KnowledgeProjection(known, 2)
    return nn.ModuleDict({"one": table, "the_same": table, "another": KnowledgeProjection(known, 3)})


def test_the_rows_are_left_out_and_stay_as_they_are(tmp_path):
    trained, other = model(), model()
    write_trained_weights(trained, tmp_path / "w.safetensors")
    saved = load_file(tmp_path / "w.safetensors")
    assert not [name for name in saved if name.endswith(".knowledge")]
    assert {"one.linear.weight", "another.linear.weight", "one.center"} <= saved.keys()
    load_weights(other, tmp_path / "w.safetensors")
    for name, weight in trained.state_dict().items():
        assert torch.equal(other.state_dict()[name], weight), name


def test_another_missing_weight_is_noticed(tmp_path):
    write_trained_weights(nn.ModuleDict({"one": KnowledgeProjection(knowledge(), 2)}), tmp_path / "w.safetensors")
    with pytest.raises(RuntimeError, match=r"another\.linear\.weight"):
        load_weights(model(), tmp_path / "w.safetensors")


def test_the_hash_is_that_of_the_rows():
    assert hash_of_frozen(model(seed=0)) == hash_of_frozen(model(seed=0)) != hash_of_frozen(model(seed=1))
    assert hash_of_frozen(nn.Linear(2, 2)) == ""


class Killed(BaseException):
    """Stands for a signal."""


def interrupted(config, loaders, folder, monkeypatch):
    """A training that has saved a step checkpoint and a best epoch, and was killed then."""
    check_nan = RecommenderTrainer._check_nan

    def kill(trainer, loss):
        check_nan(trainer, loss)
        if trainer.steps_done == 2 * len(loaders[0]) + 1:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Clock, "is_due", lambda clock: True)
        patch.setattr(RecommenderTrainer, "_check_nan", kill)
        with pytest.raises(Killed):
            train_recommender(config, *loaders, folder, knowledge().standardised(), folder / "work")


@pytest.fixture
def training(make_config, tmp_path, monkeypatch):
    """An interrupted one: configuration, loaders, folder."""
    config = make_config("TSLRecSASRec", epochs=3, minimum_epochs=0, train_batch_size=16)
    loaders = Data(config).loaders[:2]
    interrupted(config, loaders, tmp_path, monkeypatch)
    return config, loaders, tmp_path


def test_a_step_checkpoint_is_without_the_rows_and_the_artifact_with_them(training):
    config, loaders, folder = training
    checkpoint = latest_step_checkpoint(folder / "work")
    for file in ("weights.safetensors", "best"):
        assert not [name for name in load_file(checkpoint / file) if name.endswith(".source.knowledge")], file
    train_recommender(config, *loaders, folder, knowledge().standardised(), folder / "work")
    (rows,) = [rows for name, rows in load_file(folder / MODEL).items() if name.endswith(".source.knowledge")]
    assert torch.equal(rows, knowledge().standardised().rows)


def test_with_other_rows_training_starts_anew(training, caplog):
    config, loaders, folder = training
    with caplog.at_level(logging.INFO):
        train_recommender(config, *loaders, folder, knowledge(seed=1).standardised(), folder / "work")
    assert "was trained with other rows of knowledge; training starts anew" in caplog.text
    assert "goes on from" not in caplog.text
    (rows,) = [rows for name, rows in load_file(folder / MODEL).items() if name.endswith(".source.knowledge")]
    assert torch.equal(rows, knowledge(seed=1).standardised().rows)
