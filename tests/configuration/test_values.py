"""Values of RecBole's keys that would be passed over in silence are refused with a legal one."""

import re

import pytest

from recbole_tslrec.configuration.config import Config
from recbole_tslrec.settings import ConfigError


def configure(*arguments: str) -> Config:
    return Config("SASRec", "toy", argv=arguments)


@pytest.mark.parametrize(
    "key", ["user_inter_num_interval", "item_inter_num_interval", "entity_kg_num_interval", "relation_kg_num_interval"]
)
@pytest.mark.parametrize("value", ["5", "[5,)", ">=5", "[5,3]", "(5,5]", "[5,inf);x", "[5,nan]"])
def test_what_is_no_interval_is_refused_with_a_legal_one(key: str, value: str) -> None:
    with pytest.raises(ConfigError, match=rf'{key} \[.*is no interval.*--{key}="\[5,inf\)"'):
        configure(f"--{key}={value}")


@pytest.mark.parametrize("value", ["[5,inf)", "(0, 10]", "[5,10);[20,30]", "[5,5]", "None", "[1e1,2.5e2]"])
def test_intervals_of_recbole_are_taken(value: str) -> None:
    configure(f"--user_inter_num_interval={value}")


@pytest.mark.parametrize("value", ["1.5", "-0.1", "half", "True"])
@pytest.mark.parametrize("key", ["hidden_dropout_prob", "attn_dropout_prob", "lora_dropout"])
def test_a_probability_lies_between_0_and_1(key: str, value: str) -> None:
    with pytest.raises(ConfigError, match=rf"{key} \[{value}\] must be a number between 0 and 1"):
        configure(f"--{key}={value}")


@pytest.mark.parametrize("value", ["0", "0.25", "1"])
def test_a_probability_is_taken(value: str) -> None:
    assert configure(f"--hidden_dropout_prob={value}")["hidden_dropout_prob"] == float(value)


@pytest.mark.parametrize("key", ["dataset_save_path", "dataloaders_save_path"])
def test_what_would_be_unpickled_is_refused(key: str) -> None:
    with pytest.raises(ConfigError, match=rf"{key} \[x\.pth\] would be read as a pickle"):
        configure(f"--{key}=x.pth")


@pytest.mark.parametrize("value", ["{'rating': '>3'}", "{'rating': 3}", "[3,inf)"])
def test_val_interval_is_a_dict_of_intervals(value: str) -> None:
    with pytest.raises(ConfigError, match=r"val_interval.*'\[3,inf\)'"):
        configure(f"--val_interval={value}")


@pytest.mark.parametrize("value", ["{'rating': '[3,inf)'}", "{'brand': ['a', 'b']}"])
def test_val_interval_of_numbers_and_of_tokens_is_taken(value: str) -> None:
    configure(f"--val_interval={value}")


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("--valid_metric=MRR@10", "metrics are ['Hit', 'NDCG']; add MRR to metrics, or set --valid_metric=Hit@10"),
        ("--valid_metric=NDCG@7", "topk is [5, 10]; add its cut-off to topk, or set --valid_metric=NDCG@10"),
        ("--valid_metric=NDCG", "topk is [5, 10]; add its cut-off to topk, or set --valid_metric=NDCG@10"),
        ("--topk=[20]", "topk is [20]; add its cut-off to topk, or set --valid_metric=NDCG@20"),
        ("--metrics=Hit", "metrics are ['Hit']; add NDCG to metrics"),
        ("--metrics=NDCG,Hit", "[NDCG,Hit], which RecBole does not have; did you mean [NDCG,Hit], a list?"),
        ("--topk=5,0", "topk must be a list of whole numbers above 0 such as [5, 10], not [[5, 0]]"),
        ("--metrics=['NCDG']", "[NCDG], which RecBole does not have; did you mean NDCG?"),
    ],
)
def test_metric_that_chooses_the_epoch_must_be_computed(argument: str, said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        configure(argument)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("7", "must be a dict such as"),
        ("{'splits': {}}", "has no entry [splits]"),
        ("{'order': 'RO'}", "sequential models need TO"),
        ("{'group_by': 'item'}", "must be user or none"),
        ("{'mode': 'labeled'}", "mode [labeled], which evaluates labels"),
        ("{'mode': 'uni'}", "uniN or popN for a sample of N items"),
        ("{'mode': {'train': 'full'}}", "by part it is {'valid': ..., 'test': ...}"),
        ("{'split': {'LS': 'one'}}", "must be valid_and_test, valid_only or test_only"),
        ("{'split': {'RS': [8, 1]}}", "such as [0.8, 0.1, 0.1]"),
        ("{'split': {'XX': 1}}", "must be LS (leave one out), RS or TS"),
        ("{'split': [8, 1, 1]}", "must be a dict of one entry"),
    ],
)
def test_unsupported_evaluation_is_refused_in_one_sentence(value: str, said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        configure(f"--eval_args={value}")


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"mode": "uni10"}, {"split": {"LS": "valid_and_test"}, "order": "TO"}),
        ({"group_by": "user"}, {"split": {"LS": "valid_and_test"}, "order": "TO"}),
        ({"split": {"RS": [8, 1, 1]}}, {"split": {"RS": [8, 1, 1]}, "order": "TO"}),
    ],
)
def test_what_an_evaluation_does_not_say_is_as_without_it(given: dict[str, object], kept: dict[str, object]) -> None:
    found = configure(f"--eval_args={given}")["eval_args"]
    assert {key: found[key] for key in kept} == kept


@pytest.mark.parametrize("value", ["user_id", "['user_id']", "{'inter': 'user_id'}"])
def test_load_col_is_a_dict_of_lists(value: str) -> None:
    with pytest.raises(ConfigError, match=r"load_col \[.*must be a dict by the suffix of the file"):
        configure(f"--load_col={value}")


def test_scaled_gradients_are_not_clipped() -> None:
    clip = "--clip_grad_norm={'max_norm': 5.0}"
    assert configure(clip)["clip_grad_norm"] == {"max_norm": 5.0}
    with pytest.raises(ConfigError, match="clip_grad_norm would bound gradients that enable_scaler has multiplied"):
        configure(clip, "--enable_scaler=True")


@pytest.mark.parametrize("value", ["5", "{'norm': 5}"])
def test_clip_grad_norm_is_a_dict_of_the_largest_norm(value: str) -> None:
    with pytest.raises(ConfigError, match=r"clip_grad_norm must be a dict such as {'max_norm': 5.0}, not \["):
        configure(f"--clip_grad_norm={value}")


@pytest.mark.parametrize("value", ["train", "['train', 'test']"])
def test_three_files_make_a_split(value: str) -> None:
    with pytest.raises(ConfigError, match=r"benchmark_filename .*such as \['train', 'valid', 'test'\]"):
        configure(f"--benchmark_filename={value}")
