"""The yaml files: what they hold, the defaults that they give, and which keys are a model's own."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from recbole_tslrec.configuration.config import Config
from recbole_tslrec.configuration.properties import model_keys, own_defaults, properties_folder, read_properties
from recbole_tslrec.pipeline import plan

PROPERTIES = properties_folder()
YAML_FILES = sorted(str(path.relative_to(PROPERTIES)) for path in PROPERTIES.rglob("*.yaml"))
DOCUMENTED = ("overall.yaml", "llm/scratch.yaml")
UNIFORM = {"distribution": "uniform", "sample_num": 1, "alpha": 1.0, "dynamic": False, "candidate_num": 0}


def configure(*argv: str, model: str = "SASRec", files: tuple[str, ...] = (), **settings: Any) -> Config:
    return Config(model, "toy", files, settings, argv)


# reading


def test_file_that_does_not_exist_or_holds_comments_only_has_no_keys(tmp_path: Path) -> None:
    assert read_properties(tmp_path / "nowhere.yaml") == {}
    (tmp_path / "comments.yaml").write_text("# epochs: 3\n")
    assert read_properties(tmp_path / "comments.yaml") == {}


def test_own_defaults_are_those_of_all_files_the_later_over_the_earlier(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = {
        "overall": "a: overall\nb: overall\nc: overall\nd: overall",
        "llm/scratch": "b: scratch\nc: scratch\nd: scratch",
        "model/Own": "c: backbone\nd: backbone",
        "dataset/toy": "d: dataset",
        "family/LLM": "d: family",
    }
    for name, text in texts.items():
        path = tmp_path / f"{name}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr("recbole_tslrec.configuration.properties.properties_folder", lambda: tmp_path)
    assert own_defaults("Own", "toy") == {"a": "overall", "b": "scratch", "c": "backbone", "d": "dataset"}
    assert own_defaults("Other", "other") == {"a": "overall", "b": "scratch", "c": "scratch", "d": "scratch"}
    assert own_defaults("Own", "toy", family="LLM")["d"] == "family"


# the keys of a model itself


def test_keys_of_a_model_are_those_of_its_yaml_file() -> None:
    assert {"n_layers", "n_heads", "hidden_size", "loss_type"} <= model_keys("SASRec")
    assert not {"learning_rate", "epochs", "fusion_type", "nv"} & model_keys("SASRec")
    assert "nv" in model_keys("Caser")
    assert "layer_norm_eps" in model_keys("FMLPRec")  # a model of this package


def test_own_model_without_a_file_may_read_the_keys_of_every_sequential_model() -> None:
    keys = model_keys("MyOwnModel")
    assert keys > model_keys("SASRec") | model_keys("Caser")
    assert "fusion_type" not in keys


# negative sampling


def test_cross_entropy_samples_no_negatives() -> None:
    assert configure(model="TSLRecSASRec")["train_neg_sample_args"]["distribution"] == "none"


@pytest.mark.parametrize("model", ["SASRec", "TSLRecSASRec"])
def test_bpr_gets_recbole_negative_sampling(model: str) -> None:
    assert configure("--loss_type=BPR", model=model)["train_neg_sample_args"] == UNIFORM


def test_bpr_keeps_the_negative_sampling_that_is_given() -> None:
    config = configure("--loss_type=BPR", "--train_neg_sample_args={'distribution': 'popularity', 'sample_num': 2}")
    assert config["train_neg_sample_args"] == {**UNIFORM, "distribution": "popularity", "sample_num": 2}


@pytest.mark.parametrize("model", ["FPMC", "TransRec", "DIN", "DIEN"])
def test_recbole_model_that_needs_negatives_keeps_them(model: str) -> None:
    assert configure(model=model)["train_neg_sample_args"] == UNIFORM


# the files


@pytest.mark.parametrize("file", YAML_FILES)
def test_every_yaml_loads_and_has_known_keys_only(file: str) -> None:
    config = configure(model="TSLRecSASRec", files=(f"properties/{file}",))
    given = yaml.safe_load((PROPERTIES / file).read_text(encoding="utf-8"))
    assert given
    assert set(given) <= set(config.final_config_dict)


@pytest.mark.parametrize("file", DOCUMENTED)
def test_every_key_has_a_comment_with_its_type_and_meaning(file: str) -> None:
    types = {"str": str, "int": int, "float": (int, float), "bool": bool, "list": list, "dict": dict}
    text = (PROPERTIES / file).read_text(encoding="utf-8")
    for key, default in yaml.safe_load(text).items():
        line = next(line for line in text.splitlines() if line.startswith(f"{key}:"))
        comment = re.search(r"# \((\w+(?: or \w+)*)\) \w", line)
        assert comment, line
        documented = [types[name] for name in comment[1].split(" or ")]
        assert default is None or any(isinstance(default, kind) for kind in documented), line


def test_paper_preset_holds_the_printed_settings() -> None:
    config = configure(model="TSLRecSASRec", files=("properties/presets/paper.yaml",))
    assert (config["hidden_size"], config["embedding_size"]) == (256, 256)
    assert config["train_batch_size"] == 1024
    assert isinstance(config["learning_rate"], float)
    assert config["learning_rate"] == 0.0001
    assert config["stopping_step"] == 10
    assert config["valid_metric"] == "NDCG@10"


def test_quick_preset_has_a_learning_rate_that_is_a_number() -> None:
    assert configure(files=("properties/presets/quick.yaml",))["sft_learning_rate"] == 0.001


def test_the_preset_for_ids_needs_no_llm() -> None:
    config = configure(model="TSLRecSASRec", files=("properties/presets/co_occurrence.yaml",))
    assert [stage.kind for stage in plan(config)] == ["backbone", "knowledge", "recommender"]
    assert (config["id_init"], config["fusion_type"]) == ("knowledge", "sum")


def test_the_preset_for_words_differs_from_the_paper_where_it_says_so() -> None:
    files = ("properties/protocol.yaml", "properties/presets/words.yaml")
    config = configure("--prompt_item_text=title,categories", model="TSLRecSASRec", files=files)
    assert (config["prompt_instruction"], config["prompt_response"]) == ("[CLS]", "[SEP]")
    assert config["prompt_item_vector"] is False
    assert config["learning_rate"] == 3e-3
