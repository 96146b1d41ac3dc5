"""How stock RecBole finds the models."""

import sys

import pytest
import recbole.config
import recbole.data.dataset
from recbole.utils import ModelType, get_model, get_trainer

from recbole_tslrec import models
from recbole_tslrec.configuration import registration
from recbole_tslrec.models.names import added_model_names


@pytest.mark.parametrize(
    ("name", "trainer"), [("TSLRecS3Rec", "S3RecTrainer"), ("CIS3Rec", "S3RecTrainer"), ("TSLRecSASRec", "Trainer")]
)
def test_recbole_finds_the_trainer_of_the_backbone(name: str, trainer: str) -> None:
    assert get_trainer(ModelType.SEQUENTIAL, name).__name__ == trainer


@pytest.mark.parametrize("family", ["TSLRec", "CI", "P2Rec"])
def test_recbole_finds_the_dataset_of_the_backbone(family: str) -> None:
    dataset = getattr(recbole.data.dataset, f"{family}GRU4RecKGDataset")
    assert issubclass(dataset, recbole.data.dataset.KGSeqDataset)


@pytest.mark.parametrize(("model", "suffix"), [("TSLRecGRU4RecF", "item"), ("TSLRecGRU4RecKG", "ent")])
def test_files_that_a_backbone_reads_stay_in_the_columns_to_load(
    model: str, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RecBole names them for ml-100k and for entities; ours are the interactions'."""
    monkeypatch.setattr(sys, "argv", ["x"])
    columns = recbole.config.Config(model, "ml-100k")["load_col"]
    assert suffix in columns
    assert columns["inter"] == ["user_id", "item_id", "timestamp"]


@pytest.mark.parametrize("name", added_model_names())
def test_recbole_finds_the_class_by_name(name: str) -> None:
    found = get_model(name)
    assert found is getattr(models, name)
    assert found.__module__.startswith("recbole_tslrec.")


def test_p2rec_is_another_name_of_tslrec() -> None:
    assert get_model("P2RecSASRec") is models.TSLRecSASRec


def test_stock_config_of_our_model_has_backbone_defaults_and_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["x"])
    config = recbole.config.Config("TSLRecSASRec", "ml-100k")
    assert config["n_layers"] == 2  # recbole/properties/model/SASRec.yaml
    assert config["fusion_type"] == "gate"  # properties/overall.yaml
    assert config["topk"] == [5, 10]
    assert config["model"] == "TSLRecSASRec"


def test_stock_config_reads_our_numbers_as_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["x"])
    assert recbole.config.Config("FMLPRec", "ml-100k")["layer_norm_eps"] == 1e-12  # yaml 1.1 takes 1e-12 for text


def test_stock_config_of_a_recbole_model_is_untouched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["x"])
    config = recbole.config.Config("SASRec", "ml-100k", config_dict={"train_neg_sample_args": None})
    assert "fusion_type" not in config
    assert "scratch_layers" not in config
    assert (config["topk"], config["valid_metric"]) == ([10], "MRR@10")


def test_registering_twice_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["x"])
    loader = recbole.config.Config._load_internal_config_dict
    before = recbole.config.Config("TSLRecSASRec", "ml-100k").final_config_dict
    registration.register_models()
    assert recbole.config.Config._load_internal_config_dict is loader
    assert get_model("TSLRecSASRec") is models.TSLRecSASRec
    assert recbole.config.Config("TSLRecSASRec", "ml-100k").final_config_dict == before
