"""The configuration: layers, the command line, the check of keys."""

import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import recbole.config

from recbole_tslrec.configuration.config import Config, check_keys
from recbole_tslrec.settings import ConfigError


def configure(*argv: str, model: str = "SASRec", files: tuple[str, ...] = (), **settings: Any) -> Config:
    return Config(model, "toy", files, settings, argv)


def yaml_file(text: str) -> str:
    Path("given.yaml").write_text(text)
    return "given.yaml"


# layers


def test_recbole_default_is_the_lowest_layer() -> None:
    assert configure()["worker"] == 0  # recbole/properties/overall.yaml; ours say nothing


def test_default_of_the_recbole_model_holds() -> None:
    assert configure(model="TSLRecCaser")["nv"] == 4  # recbole/properties/model/Caser.yaml


def test_properties_are_over_recbole_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["x"])
    stock = recbole.config.Config("SASRec", "toy", config_dict={"train_neg_sample_args": None})
    assert (stock["topk"], configure()["topk"]) == ([10], [5, 10])


def test_config_file_is_over_properties() -> None:
    assert configure(files=(yaml_file("topk: [1, 10]"),))["topk"] == [1, 10]


def test_config_dict_is_over_config_file() -> None:
    assert configure(files=(yaml_file("topk: [1, 10]"),), topk=[2, 10])["topk"] == [2, 10]


def test_argv_is_over_config_dict() -> None:
    assert configure("--topk=[3,10]", files=(yaml_file("topk: [1, 10]"),), topk=[2, 10])["topk"] == [3, 10]


def test_later_config_file_is_over_the_earlier() -> None:
    Path("first.yaml").write_text("topk: [1, 10]")
    Path("second.yaml").write_text("topk: [2, 10]")
    assert configure(files=("first.yaml", "second.yaml"))["topk"] == [2, 10]


def test_paths_of_a_file_may_begin_with_the_sign_of_the_users_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    config = configure(files=(yaml_file("artifacts_dir: ~/artifacts\ndata_path: ~/data\nknowledge_path: [~/a, b]"),))
    assert config["artifacts_dir"] == f"{tmp_path}/artifacts"
    assert config["data_path"] == f"{tmp_path}/data/toy"
    assert config["knowledge_path"] == [f"{tmp_path}/a", "b"]


@pytest.mark.parametrize("transform", ["crop_itemseq", "reorder_itemseq", "mask_itemseq"])
def test_a_transform_whose_keys_a_model_lacks_is_refused(transform: str) -> None:
    with pytest.raises(ConfigError, match=rf"transform \[{transform}\] reads \w+, which is no key of Caser"):
        Config("Caser", "toy", argv=[f"--transform={transform}"])
    assert Config("BERT4Rec", "toy")["transform"] == "mask_itemseq"


def test_config_file_in_another_encoding_is_named() -> None:
    Path("latin.yaml").write_bytes("# Grüße\nepochs: 1\n".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"configuration file \[latin.yaml\] is no yaml"):
        configure(files=("latin.yaml",))


def test_config_file_may_hold_nothing_but_comments() -> None:
    assert configure(files=(yaml_file("# epochs: 3\n"),))["epochs"] == configure()["epochs"] != 3


# the command line


def test_sys_argv_is_never_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["x", "--epochs=7", "no_key"])
    assert configure()["epochs"] != 7


def test_value_may_hold_an_equals_sign() -> None:
    assert configure("--prompt_response=a=b = c")["prompt_response"] == "a=b = c"


@pytest.mark.parametrize("argument", ["epochs=3", "--epochs", "-epochs=3", "3", "--"])
def test_argument_of_another_form_is_refused(argument: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"[{argument}] is not of the form --key=value")):
        configure(argument)


def test_key_given_twice_with_different_values_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"--epochs is given twice, as \[3\] and \[4\]"):
        configure("--epochs=3", "--seed=1", "--epochs=4")


def test_key_given_twice_with_the_same_value_is_taken() -> None:
    assert configure("--epochs=3", "--epochs=3")["epochs"] == 3


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 0.0001),
        ("true", True),
        ("False", False),
        ("None", None),
        ("[1, 20]", [1, 20]),
        ("{'a': 1}", {"a": 1}),
        ("'7'", "7"),
        ("[3,inf)", "[3,inf)"),
        ("a word", "a word"),
        ("", ""),
        ("{[1]: 2}", "{[1]: 2}"),  # a list is no key of a dict, so this is no literal
    ],
)
def test_values_are_python_literals_or_text(text: str, value: object) -> None:
    read = configure(f"--prompt_response={text}")["prompt_response"]
    assert (type(read), read) == (type(value), value)


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("metrics", "[NDCG, Hit]", ["NDCG", "Hit"]),
        ("metrics", "['NDCG','Hit']", ["NDCG", "Hit"]),
        ("lora_target_modules", "[q_proj,v_proj]", ["q_proj", "v_proj"]),
        ("knowledge_source", "[tfidf,co_occurrence]", ["tfidf", "co_occurrence"]),
        ("user_inter_num_interval", "[3,inf]", "[3,inf]"),
        ("prompt_response", "[Answer]", "[Answer]"),
    ],
)
def test_a_list_of_names_needs_no_quotes(key: str, text: str, value: object) -> None:
    """A shell takes them away: metrics=['NDCG','Hit'] arrives as metrics=[NDCG,Hit]."""
    words = ("--prompt_item_text=movie_title",) if key == "knowledge_source" else ()
    assert configure(f"--{key}={text}", *words)[key] == value


def test_argument_is_not_evaluated() -> None:
    code = '__import__("os").getpid()'
    assert configure(f"--prompt_response={code}")["prompt_response"] == code


def test_numbers_of_numpy_sets_and_tuples_become_what_a_recipe_can_hold() -> None:
    """JSON has none of them, and the order of a set differs between processes."""
    config = configure(hidden_size=np.int64(8), val_interval={"kind": {"b", "c", "a"}}, topk=(5, 10))
    assert type(config["hidden_size"]) is int
    assert config["val_interval"] == {"kind": ["a", "b", "c"]}
    assert config["topk"] == [5, 10]


def test_text_in_config_dict_is_not_evaluated() -> None:
    code = '__import__("pathlib").Path("touched").touch() or 3'
    assert configure(prompt_response=code)["prompt_response"] == code
    assert not Path("touched").exists()


# the check of keys, files and models


@pytest.mark.parametrize(("wrong", "near"), [("sft_epoch", "sft_epochs"), ("learning_rat", "learning_rate")])
@pytest.mark.parametrize("source", ["argv", "dict", "yaml"])
def test_unknown_key_is_refused_with_the_nearest(source: str, wrong: str, near: str) -> None:
    argv = (f"--{wrong}=1",) if source == "argv" else ()
    settings = {wrong: 1} if source == "dict" else {}
    files = (yaml_file(f"{wrong}: 1"),) if source == "yaml" else ()
    message = f"unknown configuration key [{wrong}]; did you mean {near}?"
    with pytest.raises(ConfigError, match=re.escape(message)):
        configure(*argv, files=files, **settings)


def test_unknown_key_like_no_other_points_to_the_list_of_keys() -> None:
    with pytest.raises(ConfigError, match=r"\[qqqqqqqq\]; see properties/overall.yaml"):
        configure("--qqqqqqqq=1")


@pytest.mark.parametrize("key", ["n_heads", "nv", "benchmark_filename", "user_inter_num_interval", "checkpoint_dir"])
def test_keys_of_recbole_and_its_models_are_known(key: str) -> None:
    check_keys({key: 1})


@pytest.mark.parametrize("key", ["contrast", "tau", "sim"])
def test_keys_that_recbole_reads_but_lists_nowhere_are_known(key: str) -> None:
    check_keys({key: 1})  # recbole/model/sequential_recommender/fearec.py


def test_missing_config_file_is_refused_with_its_name_and_the_presets() -> None:
    with pytest.raises(ConfigError, match=r"\[nowhere.yaml\] does not exist; presets are in .*presets"):
        configure(files=("nowhere.yaml",))


DEEP = "topk: " + "[" * 10_000


@pytest.mark.parametrize("text", ["topk: [1\n", "- topk\n", DEEP], ids=["broken", "list", "deep"])
def test_config_file_that_holds_no_keys_is_refused_by_name(text: str) -> None:
    with pytest.raises(ConfigError, match=r"given\.yaml"):
        configure(files=(yaml_file(text),))


def test_preset_is_found_from_any_working_directory() -> None:
    assert not Path("properties").exists()
    assert configure(files=("properties/presets/quick.yaml",))["MAX_ITEM_LIST_LENGTH"] == 20


@pytest.mark.parametrize(("wrong", "near"), [("TSLRecSASRek", "TSLRecSASRec"), ("SASRek", "SASRec")])
def test_unknown_model_is_refused_with_the_nearest(wrong: str, near: str) -> None:
    with pytest.raises(ValueError, match=rf"model \[{wrong}\] does not exist; did you mean {near}\b"):
        configure(model=wrong)


# values


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--target_view=others", r"target_view \[others\] is not one of own, rest"),
        ("--sft_loss=ce", r"sft_loss \[ce\] is not one of mse, kl"),
        ("--group_count=many", r"group_count must be a number such as 32, not \[many\]"),
    ],
)
def test_an_option_that_does_not_exist_is_refused(argument: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        configure(argument)


@pytest.mark.parametrize("retriever", ["E4SRec", "LlamaRec", "P5", "POD"])
def test_a_retriever_that_is_an_llm_is_refused(retriever: str) -> None:
    with pytest.raises(ConfigError, match=rf"retriever \[{retriever}\] is itself an LLM .* such as LRURec"):
        Config("LlamaRec", "ml-100k", [], {"retriever": retriever})


@pytest.mark.parametrize("retriever", ["SASRec", "TSLRecGRU4Rec", "LRURec"])
def test_any_recommender_is_a_retriever(retriever: str) -> None:
    assert Config("LlamaRec", "ml-100k", [], {"retriever": retriever})["retriever"] == retriever
