"""What holds for every backbone, on the head of ml-100k: the fused models, and what the table of backbones says."""

import itertools
import random

import numpy as np
import pytest
import torch
from recbole.model import sequential_recommender
from safetensors.torch import load_file
from torch.nn import functional

import recbole_tslrec.models as models
from recbole_tslrec.configuration.config import Config
from recbole_tslrec.data.dataset import Data
from recbole_tslrec.models.backbones import BACKBONES, REFUSED
from recbole_tslrec.settings import derive
from recbole_tslrec.store.artifacts import Recipe, Store, write_item_table
from recbole_tslrec.store.files import write_tensors
from recbole_tslrec.store.step_checkpoints import Clock
from recbole_tslrec.training.recommender import (
    MODEL,
    RecommenderTrainer,
    build_model,
    train_recommender,
)
from recbole_tslrec.training.shared_steps import why_not_shared
from recbole_tslrec.training.weights import load_weights
from tests.contracts.ml_100k_head import NAME, SETTINGS, SMALL, write_head

families = pytest.mark.parametrize("family", ["TSLRec", "CI"])


def having(flag, value=True):
    """A test of the backbones for which the table says so."""
    names = [name for name, backbone in BACKBONES.items() if getattr(backbone, flag) is value]
    return pytest.mark.parametrize("head", names, indirect=True)


class Head:
    """The data as one backbone reads them, and models made of it. No test changes them."""

    def __init__(self, backbone, data_path, artifacts):
        self.folder = data_path / NAME
        self.settings = {**SMALL, **SETTINGS.get(backbone, {}), "data_path": str(data_path)}
        self.backbone, self.tables = backbone, BACKBONES[backbone].tables
        config = Config(backbone, NAME, [], self.settings)
        self.data = Data(config)
        self.train_data, self.valid_data, _ = self.data.loaders
        # CI's own start, the sum, is the ID table
        self.config = derive(config, ci_fusion_type="gate", **given_tables(artifacts, self.data.item_tokens))
        seed_everything()  # BERT4Rec masks at random
        self.batch = next(iter(self.train_data))
        self.users = next(iter(self.valid_data))[0]

    def named(self, family):
        """The configuration of a model; ``Base`` is the backbone alone."""
        return derive(self.config, model=self.backbone if family == "Base" else family + self.backbone)

    def model(self, family, **settings):
        """A new model. Those of one seed are equal, but for what is fused."""
        return build_model(derive(self.named(family), **settings), self.train_data)

    def loss(self, model):
        """The loss of the batch, whose dropout and negatives are drawn from one seed."""
        seed_everything()
        return model.calculate_loss(self.batch)

    @torch.no_grad()
    def scores(self, model):
        """The scores of all items, [users, N + 1]."""
        return model.eval().full_sort_predict(self.users).view(len(self.users), -1)


def seed_everything():
    for seed in (torch.manual_seed, random.seed, np.random.seed):
        seed(1)


def given_tables(folder, tokens):
    """Knowledge and groups of the items; every backbone reads the same."""
    rows = torch.randn(len(tokens), 64, generator=torch.Generator().manual_seed(0)) + 3
    tables = {
        "knowledge": {"knowledge": rows},
        "groups": {"groups": torch.arange(len(tokens)) % 10, "centers": torch.zeros(10, 2)},
    }
    return {
        f"{kind}_path": str(
            Store(folder)
            .build(kind, Recipe({}), lambda where, tensors=tensors: write_item_table(where, tokens, tensors))
            .folder
        )
        for kind, tensors in tables.items()
    }


@pytest.fixture(scope="module")
def data_path(tmp_path_factory):
    return write_head(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module", params=BACKBONES)
def head(request, data_path, tmp_path_factory):
    return Head(request.param, data_path, tmp_path_factory.mktemp("given"))


# What is fused


@families
def test_first_loss_is_near_that_of_the_backbone(head, family):
    base = head.loss(head.model("Base")).item()
    assert head.loss(head.model(family)).item() == pytest.approx(base, rel=0.05)


@families
def test_lookup_gives_the_row_of_the_table(head, family):
    model, ids = head.model(family), head.batch["item_id"]
    for name in head.tables:
        embedding = getattr(model, name)
        assert torch.equal(embedding(ids), embedding.weight[ids]), name


@families
def test_only_rows_of_items_are_fused(head, family):
    """The pad's is zero; a row behind the items, the mask's, is the ID's own."""
    model, items = head.model(family), len(head.data.item_tokens)
    for name in head.tables:
        table, own = getattr(model, name).weight, getattr(model, name).parametrizations.weight.original
        assert not table[0].any(), name
        assert torch.equal(table[items + 1 :], own[items + 1 :]), name
        assert not (table[1 : items + 1] == own[1 : items + 1]).all(dim=1).any(), name


def test_gradients_reach_every_part_of_the_tables(head):
    model = head.model("TSLRec")
    head.loss(model).backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    for table in head.tables:
        prefix = f"{table}.parametrizations.weight."
        parts = {name: gradients[name] for name in gradients if name.startswith(prefix)}
        assert {f"{prefix}original", f"{prefix}0.source.linear.weight"} <= parts.keys()
        assert any(name.startswith(f"{prefix}0.fusion.") for name in parts)
        for name, gradient in parts.items():
            assert gradient is not None, name
            assert gradient.any(), name


# Scores


@pytest.mark.parametrize("family", ["Base", "TSLRec", "CI"])
def test_predict_gives_the_column_of_full_sort_predict(head, family):
    model, items = head.model(family), head.users["item_id"]
    with torch.no_grad():
        predicted = model.eval().predict(head.users)
    torch.testing.assert_close(predicted, head.scores(model).gather(1, items.unsqueeze(1)).squeeze(1))


@families
def test_loaded_checkpoint_gives_equal_scores(head, family, tmp_path):
    model, other = head.model(family), head.model(family, seed=7)
    assert not torch.equal(head.scores(other), head.scores(model))
    write_tensors(tmp_path / "weights.safetensors", model.state_dict())
    load_weights(other, tmp_path / "weights.safetensors")
    assert torch.equal(head.scores(other), head.scores(model))


# Training


def test_an_epoch_trains_every_part_of_the_tables(head, tmp_path):
    config = head.named("TSLRec")
    report = train_recommender(config, head.train_data, head.valid_data, tmp_path)
    assert report["epochs"] == 1
    trained = head.model("TSLRec")
    start = {name: parameter.clone() for name, parameter in trained.named_parameters()}
    load_weights(trained, tmp_path / MODEL)
    for name, parameter in trained.named_parameters():
        if "parametrizations" in name:
            assert not torch.equal(parameter, start[name]), name


class Killed(BaseException):
    """Stands for a signal: nothing in the package catches it."""


def weights_after_a_kill(config, loaders, folder, monkeypatch):
    """Three epochs: saved before a step of the second, killed two steps later, gone on with."""
    steps, calls = len(loaders[0]), itertools.count()
    check_nan = RecommenderTrainer._check_nan

    def kill(trainer, loss):
        check_nan(trainer, loss)
        if trainer.steps_done == steps + 3:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Clock, "is_due", lambda clock: next(calls) == steps + 1)
        patch.setattr(RecommenderTrainer, "_check_nan", kill)
        with pytest.raises(Killed):
            train_recommender(config, *loaders, folder, work=folder / "work")
    report = train_recommender(config, *loaders, folder, work=folder / "work")
    return report, load_file(folder / MODEL)


TRAININGS = [(name, "prefix") for name in BACKBONES] + [
    (name, "all_positions") for name, backbone in BACKBONES.items() if backbone.causal
]


@pytest.mark.parametrize(("head", "train_mode"), TRAININGS, indirect=["head"])
def test_a_killed_training_goes_on_and_ends_bit_equal(head, train_mode, tmp_path, monkeypatch, caplog):
    """As RecBole's own loop, which writes no step checkpoint."""
    caplog.set_level("INFO")
    size = 256 if train_mode == "prefix" else 16
    own = {"train_mode": train_mode, "train_batch_size": size, "epochs": 3, "average_weights": train_mode == "prefix"}
    config = Config(f"TSLRec{head.backbone}", NAME, [], {**head.settings, **own})
    loaders = Data(config).loaders[:2]
    config["knowledge_path"] = head.config["knowledge_path"]
    expected = train_recommender(config, *loaders, tmp_path)
    weights = load_file(tmp_path / MODEL)
    (tmp_path / "killed").mkdir()
    report, found = weights_after_a_kill(config, loaders, tmp_path / "killed", monkeypatch)
    assert "epoch 1, step 1" in caplog.text
    assert report == expected
    for name, weight in weights.items():
        assert torch.equal(found[name], weight), name


def test_processes_can_share_the_steps(head):
    """But for S3Rec's pre-training, whose loss is a sum over rows, and TransRec, with a norm over those of a batch."""
    reason = why_not_shared(head.model("TSLRec"), head.batch)
    assert ("its rows meet in the loss" in reason) is (head.backbone in ("S3Rec", "TransRec"))


# What the table of backbones says


@torch.no_grad()
def test_user_matters_where_the_model_knows_users(head):
    model = head.model("TSLRec")
    before = head.scores(model)
    others = head.users.interaction | {"user_id": head.users["user_id"].flip(0)}
    changed = model.full_sort_predict(type(head.users)(others)).view(len(head.users), -1)
    assert torch.equal(before, changed) is not BACKBONES[head.backbone].knows_users


@having("dot")
@torch.no_grad()
def test_scores_are_products_with_the_table(head):
    model = head.model("TSLRec").eval()
    query = model.forward(head.users["item_id_list"], head.users["item_length"])
    table = getattr(model, "output_table", model.item_embedding.weight)  # LRURec's has a column of biases
    torch.testing.assert_close(head.scores(model), query @ table.T)


@having("plain_loss")
@torch.no_grad()
def test_loss_is_that_of_the_scores_alone(head):
    model = head.model("TSLRec").eval()
    expected = functional.cross_entropy(model.full_sort_predict(head.batch), head.batch["item_id"])
    torch.testing.assert_close(model.calculate_loss(head.batch), expected)


@having("causal")
@torch.no_grad()
def test_every_position_is_read_as_the_last_one_of_its_prefix(head):
    model = head.model("TSLRec").eval()
    item_seq = torch.arange(1, 11).repeat(2, 1)
    item_seq[1] += 100
    model.reads_all_positions = True
    every = model.forward(item_seq, torch.tensor([10, 10]))
    model.reads_all_positions = False
    for length in range(1, 11):
        prefix = item_seq.where(torch.arange(10) < length, 0)
        torch.testing.assert_close(every[:, length - 1], model.forward(prefix, torch.tensor([length, length])))


@having("causal")
def test_all_positions_train_where_no_position_sees_a_later_one(head, tmp_path):
    config = Config(f"TSLRec{head.backbone}", NAME, [], {**head.settings, "train_mode": "all_positions"})
    train_data, valid_data, _ = Data(config).loaders
    config["knowledge_path"] = head.config["knowledge_path"]
    assert train_recommender(config, train_data, valid_data, tmp_path)["epochs"] == 1
    assert len(next(iter(train_data))) < len(next(iter(head.train_data)))  # 60 users, not their 512 first prefixes


@having("causal", False)
def test_all_positions_are_refused_elsewhere(head):
    with pytest.raises(ValueError, match=f"train_mode all_positions is not valid for .*{head.backbone}"):
        head.model("TSLRec", train_mode="all_positions")


def test_every_sequential_model_of_recbole_is_listed_or_refused():
    recbole = {name for name, value in vars(sequential_recommender).items() if isinstance(value, type)}
    assert {*BACKBONES, *REFUSED} - {"BSARec", "FMLPRec", "HSTU", "LiGR", "LRURec", "WEARec"} == recbole
    assert set(models.__all__) == {family + name for family in ("", "TSLRec", "CI", "P2Rec") for name in BACKBONES}


@pytest.mark.parametrize("head", ["GRU4RecKG"], indirect=True)
def test_entities_stand_in_the_order_of_the_items(head):
    vectors = dict(line.split("\t") for line in (head.folder / f"{NAME}.ent").read_text().splitlines()[1:])
    rows = head.model("TSLRec").entity_embedding.weight[1:].tolist()
    for token, row in zip(head.data.item_tokens, rows, strict=True):
        assert row == pytest.approx([float(value) for value in vectors[token].split()])
