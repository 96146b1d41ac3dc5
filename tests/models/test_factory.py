"""Fused classes: of every backbone by name, and of a user's own model."""

import pickle

import pytest
import torch
from recbole.model.abstract_recommender import SequentialRecommender
from recbole.model.sequential_recommender import DIN, HGN, SASRec
from recbole.quick_start import run_recbole
from recbole.utils import get_model
from safetensors.torch import load_file
from torch import nn

import recbole_tslrec.models as models
from recbole_tslrec import with_knowledge
from recbole_tslrec.configuration.registration import with_categories
from recbole_tslrec.data.dataset import Data
from recbole_tslrec.models.backbones import BACKBONES
from recbole_tslrec.pipeline import run_stages
from recbole_tslrec.training.recommender import build_model


class LastItem(SequentialRecommender):
    """A user's own model: the next item is near the last one."""

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.items = nn.Embedding(self.n_items, 8)
        nn.init.normal_(self.items.weight)
        self.places = nn.Embedding(self.max_seq_length, 8)

    def full_sort_predict(self, interaction):
        last = self.gather_indexes(self.items(interaction[self.ITEM_SEQ]), interaction[self.ITEM_SEQ_LEN] - 1)
        return last @ self.items.weight.T

    def calculate_loss(self, interaction):
        return nn.functional.cross_entropy(self.full_sort_predict(interaction), interaction[self.ITEM_ID])

    def predict(self, interaction):
        return self.full_sort_predict(interaction).gather(1, interaction[self.ITEM_ID].unsqueeze(1)).squeeze(1)


class Named(LastItem):
    """With the table under RecBole's usual name."""

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.item_embedding = self.items


@pytest.mark.parametrize("name", models.__all__)
def test_named_class_is_found_by_pickle(name):
    """RecBole's checkpoints hold the class."""
    model = getattr(models, name)
    assert pickle.loads(pickle.dumps(model)) is model
    assert model.__name__ == name.replace("P2Rec", "TSLRec")


@pytest.mark.parametrize("name", BACKBONES)
def test_fusing_a_class_of_recbole_gives_the_named_class(name):
    assert with_knowledge(getattr(models, name)) is getattr(models, f"TSLRec{name}")
    assert with_categories(getattr(models, name)) is getattr(models, f"CI{name}")


def test_fusing_twice_gives_the_same_class():
    assert with_knowledge(SASRec) is models.TSLRecSASRec
    own = with_knowledge(LastItem, tables=("items",))
    assert with_knowledge(LastItem, tables=["items"]) is own
    assert own.__name__ == "TSLRecLastItem"
    assert pickle.loads(pickle.dumps(own)) is own


def test_unknown_name_is_no_attribute():
    with pytest.raises(AttributeError, match="TSLRecDIN"):
        models.TSLRecDIN  # noqa: B018


# What cannot be fused


def test_own_model_without_the_table_says_how_to_name_it(make_config, make_knowledge):
    config = make_config("SASRec", train_mode="prefix")
    train_data = Data(config).loaders[0]
    config["knowledge_path"] = str(make_knowledge([f"i{item}" for item in range(30)], torch.randn(30, 6)).folder)
    message = r"LastItem has no nn.Embedding \[item_embedding\] with a row for each of 31 .*large enough: items"
    with pytest.raises(ValueError, match=message):
        with_knowledge(LastItem)(config, train_data._dataset)


@pytest.mark.parametrize("not_a_model", ["SASRec", nn.Linear, None])
def test_what_is_no_sequential_model_is_refused(not_a_model):
    with pytest.raises(TypeError, match="no sequential model"):
        with_knowledge(not_a_model)


def test_fused_class_is_refused():
    with pytest.raises(TypeError, match="TSLRecSASRec is fused already"):
        with_categories(models.TSLRecSASRec)


def test_model_without_a_table_is_refused():
    with pytest.raises(ValueError, match="DIN cannot be fused: it embeds items inside"):
        with_knowledge(DIN)


def test_own_class_with_a_name_of_recbole_is_refused():
    own = type("SASRec", (LastItem,), {})
    with pytest.raises(ValueError, match="has the name of RecBole's model SASRec but is another class"):
        with_knowledge(own)


def test_tables_of_a_known_model_are_given():
    with pytest.raises(ValueError, match="the item tables of HGN are item_embedding, item_embedding_for_prediction"):
        with_knowledge(HGN, tables=("item_embedding",))


# A user's own model


def test_stock_recbole_runs_an_own_model(make_config, make_knowledge, tmp_path, monkeypatch):
    """By its class, as in ``run_recbole(model=with_knowledge(MyModel), ...)``."""
    monkeypatch.setattr("sys.argv", ["x"])
    make_config()  # writes the data
    knowledge = make_knowledge([f"i{item}" for item in range(30)], torch.randn(30, 6))
    settings = {"data_path": str(tmp_path / "data"), "knowledge_path": str(knowledge.folder), "epochs": 2}
    settings |= {"loss_type": "CE", "checkpoint_dir": str(tmp_path), "show_progress": False}
    fused = with_knowledge(Named)
    result = run_recbole(fused, "toy", config_dict=settings)
    assert get_model("TSLRecNamed") is fused
    assert 0 < result["test_result"]["hit@10"] <= 1


def test_pipeline_takes_an_own_model_by_name(make_config):
    with_categories(LastItem, tables=("items",))
    run = run_stages(make_config("CILastItem", loss_type="CE"))
    assert run.artifacts["groups"].tensors()["groups"].shape == (30,)
    assert list(run.evaluations) == ["Base", "CI"]


def test_own_model_is_fused_where_it_says(make_config, make_knowledge):
    with_knowledge(LastItem, tables=("items",))
    config = make_config("TSLRecLastItem", loss_type="CE")
    data = Data(config)
    config["knowledge_path"] = str(make_knowledge(data.item_tokens, torch.randn(30, 6)).folder)
    model = build_model(config, data.loaders[0])
    names = [name for name, _ in model.named_parameters()]
    assert "items.parametrizations.weight.0.source.linear.weight" in names
    assert "places.weight" in names
    assert not model.items.weight[0].any()


# Stage 0 of the pipeline


@pytest.mark.parametrize(("backbone", "table"), [("BERT4Rec", "item_embedding"), ("FPMC", "LI_emb")])
def test_pipeline_takes_the_input_table_of_the_backbone(make_config, backbone, table):
    """Of BERT4Rec without the mask's row."""
    run = run_stages(make_config(f"CI{backbone}"), stop_after="item_embeddings")
    taken = run.artifacts["item_embeddings"].tensors()["item_embeddings"]
    trained = load_file(run.artifacts["backbone"].folder / "model.safetensors")[f"{table}.weight"]
    assert torch.equal(taken, trained[1:31])
