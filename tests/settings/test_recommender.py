"""What RecBole's classes are given is made of declared keys alone, and nothing that they read is withheld."""

import pytest
import recbole.config

from recbole_tslrec.configuration.config import Config
from recbole_tslrec.data.dataset import Data
from recbole_tslrec.models.backbones import BACKBONES
from recbole_tslrec.pipeline.stage_0 import recommender_settings
from recbole_tslrec.settings import ConfigError, RecBoleConfig, derive
from recbole_tslrec.settings.recommender import RecommenderSettings, valid_train_mode
from recbole_tslrec.training.recommender import RecommenderTrainer, build_model
from tests.contracts.ml_100k_head import NAME, SETTINGS, SMALL, write_head


@pytest.fixture(scope="module")
def head(tmp_path_factory):
    """The folder of the head of ml-100k."""
    return write_head(tmp_path_factory.mktemp("head"))


@pytest.mark.parametrize("backbone", BACKBONES)
def test_all_that_recbole_reads_is_declared(head, backbone, monkeypatch):
    """Loading data, building the model and its trainer, and a step: a key that RecBole would find is in the settings.

    Otherwise it would read as ``None`` in the stages, and change the result without a word.
    """
    config = Config(backbone, NAME, [], {**SMALL, **SETTINGS.get(backbone, {}), "data_path": str(head)})
    declared = set(recommender_settings(config, backbone).config().final_config_dict)
    read = set()
    find = recbole.config.Config.__getitem__
    monkeypatch.setattr(recbole.config.Config, "__getitem__", lambda self, key: read.add(key) or find(self, key))
    train_data = Data(config).loaders[0]
    model = build_model(config, train_data)
    RecommenderTrainer(config, model)
    model.calculate_loss(next(iter(train_data)))
    withheld = {key for key in read - declared if config.final_config_dict.get(key) is not None}
    assert not withheld, f"{backbone} reads {sorted(withheld)}; declare them in the settings that training reads"


def test_configuration_has_the_declared_keys_and_no_other(make_config):
    config = make_config("SASRec")
    settings = recommender_settings(derive(config, sft_epochs=77), "SASRec")
    found = settings.config()
    assert isinstance(found, RecBoleConfig)
    assert (found["n_layers"], found["learning_rate"], found["model"]) == (config["n_layers"], 0.003, "SASRec")
    assert found["sft_epochs"] is None  # SFT is no business of a recommender's


def test_recipe_names_the_model_and_its_own_keys(make_config):
    recipe = recommender_settings(make_config("SASRec", n_layers=3), "SASRec").recipe()
    assert (recipe["model"], recipe["n_layers"]) == ("SASRec", 3)
    assert "device" not in recipe


def test_loss_that_a_backbone_cannot_take_is_known_at_once(make_config):
    with pytest.raises(ConfigError, match=r"loss_type \[gBCE\] cannot replace the loss of Caser"):
        recommender_settings(make_config("Caser", loss_type="gBCE"), "Caser")
    with pytest.raises(ConfigError, match="train_mode all_positions is not valid for Caser"):
        recommender_settings(make_config("Caser", train_mode="all_positions"), "Caser")


@pytest.mark.parametrize(("key", "value"), [("transform", "inverse_itemseq"), ("prefixes_per_user", 3)])
def test_what_is_done_to_prefixes_is_refused_for_all_positions(make_config, key, value):
    with pytest.raises(ConfigError, match=f"{key} .{value}. is for rows that are prefixes"):
        recommender_settings(make_config("SASRec", train_mode="all_positions", **{key: value}), "SASRec")


@pytest.mark.parametrize("given", [{"sample_num": 4}, {"dynamic": True, "candidate_num": 5}])
def test_all_positions_draws_one_negative_for_each(make_config, given):
    config = make_config("SASRec", train_mode="all_positions", loss_type="BPR", train_neg_sample_args=given)
    with pytest.raises(ConfigError, match="has several negatives or dynamic ones, and train_mode all_positions draws"):
        recommender_settings(config, "SASRec")


@pytest.mark.parametrize(
    ("causal", "given", "mode"),
    [
        (True, {}, "all_positions"),
        (False, {}, "prefix"),
        (True, {"transform": "crop_itemseq"}, "prefix"),
        (True, {"benchmark_filename": ["train", "valid", "test"]}, "prefix"),
        (True, {"prefixes_per_user": 3}, "prefix"),
        (True, {"train_mode": "prefix"}, "prefix"),
        (True, {"train_neg_sample_args": {"distribution": "uniform"}}, "all_positions"),
        (True, {"train_neg_sample_args": {"distribution": "uniform", "sample_num": 4}}, "prefix"),
        (True, {"train_neg_sample_args": {"dynamic": True, "candidate_num": 5}}, "prefix"),
        (False, {"train_mode": "all_positions"}, "all_positions"),  # which is refused, by its name
    ],
)
def test_auto_trains_all_positions_where_that_is_valid(causal, given, mode):
    assert valid_train_mode({"train_mode": "auto", **given}, causal) == mode


@pytest.mark.parametrize(("model", "mode"), [("TSLRecSASRec", "all_positions"), ("TSLRecCaser", "prefix")])
@pytest.mark.parametrize("given", [{}, {"train_mode": "auto"}])
@pytest.mark.parametrize("config_class", [Config, recbole.config.Config])
def test_configurations_say_what_auto_means(monkeypatch, config_class, given, model, mode):
    monkeypatch.setattr("sys.argv", ["run.py"])  # RecBole's own reads it
    assert config_class(model, "ml-100k", [], given)["train_mode"] == mode


def test_settings_of_equal_configurations_are_equal(make_config):
    one, other = (recommender_settings(make_config("SASRec"), "SASRec") for _ in range(2))
    assert isinstance(one, RecommenderSettings)
    assert one == other
