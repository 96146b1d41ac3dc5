"""The files of an evaluation, and what a result and its table make of them."""

import json

import numpy as np
import pytest

from recbole_tslrec.evaluation.history_modes import MODES
from recbole_tslrec.evaluation.per_user import read_users
from recbole_tslrec.pipeline import run_stages
from recbole_tslrec.result import Result
from recbole_tslrec.training.recommender import evaluate_recommender, load_trainer
from tests.conftest import walks

FIRST = {user: item for user, item, time in walks() if time == 0}
# half of the users end with the item that they began with
ROWS = [(user, FIRST[user] if time == 11 and int(user[1:]) % 2 else item, time) for user, item, time in walks()]
FULL = {"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user"}


def evaluated(config):
    """(run, folder of its evaluation)."""
    run = run_stages(config)
    return run, run.evaluations["Base"].folder


@pytest.fixture
def run(make_config):
    return evaluated(make_config("SASRec", ROWS, metric_decimal_place=12))


def test_unmasked_figures_are_recboles(run):
    run, folder = run
    train_data, valid_data, test_data = run.data.loaders
    trainer = load_trainer(run.config, train_data, run.artifacts["backbone"].folder)
    metrics = json.loads((folder / "metrics.json").read_text())
    for part, loader in (("valid", valid_data), ("test", test_data)):
        assert metrics[part]["unmasked"] == evaluate_recommender(trainer, loader)
        assert list(metrics[part]) == list(MODES)


@pytest.mark.parametrize("mode", MODES)
def test_table_by_user_has_the_means_of_the_metrics(run, mode):
    run, folder = run
    metrics = json.loads((folder / "metrics.json").read_text())
    for part in ("valid", "test"):
        frame = read_users(folder / f"{part}_users.parquet").frame
        for name, value in metrics[part][mode].items():
            assert frame[f"{name}_{mode}"].mean() == pytest.approx(value, abs=1e-6)
        for kind, chosen in (("repeat", frame["repeat"]), ("explore", ~frame["repeat"])):
            found = metrics["targets"][part][kind]
            assert found["users"] == chosen.sum()
            for name, value in found[mode].items():
                assert frame.loc[chosen, f"{name}_{mode}"].mean() == pytest.approx(value, abs=1e-6)


def test_table_by_user_says_what_it_is_of(run):
    run, folder = run
    results = read_users(folder / "test_users.parquet")
    frame = results.frame
    assert results.about == {
        "dataset": "toy",
        "fingerprint": run.data.description["fingerprint"],
        "model": "SASRec",
        "row": "Base",
        "seed": 2020,
        "part": "test",
        "topk": [5, 10],
        "items": 30,
    }
    target = {user: item for user, item, time in ROWS if time == 11}
    assert dict(zip(frame["user_id"], frame["item_id"], strict=True)) == target
    assert set(frame["sequence_length"]) == {10}
    counts = [sum(item == of and time < 10 for _, item, time in ROWS) for of in frame["item_id"]]
    assert frame["target_popularity"].tolist() == counts
    assert frame["repeat"].sum() >= 20
    assert (frame["rank_strict"] == np.where(frame["repeat"], 31, frame["rank_keep_target"])).all()
    assert {str(frame[f"rank_{mode}"].dtype) for mode in MODES} == {"int64"}
    assert {str(frame[f"ndcg@10_{mode}"].dtype) for mode in MODES} == {"float32"}


def test_metrics_that_need_more_than_ranks_are_unmasked_only(make_config):
    _, folder = evaluated(make_config("SASRec", metrics=["ItemCoverage", "Hit"], topk=[5], valid_metric="Hit@5"))
    metrics = json.loads((folder / "metrics.json").read_text())["test"]
    assert {mode: list(figures) for mode, figures in metrics.items()} == {
        "unmasked": ["itemcoverage@5", "hit@5"],
        "keep_target": ["hit@5"],
        "strict": ["hit@5"],
    }
    assert 0 < metrics["unmasked"]["itemcoverage@5"] <= 1


def test_sampled_evaluation_is_recboles_alone(make_config):
    _, folder = evaluated(make_config("SASRec", eval_args={**FULL, "mode": {"valid": "full", "test": "uni5"}}))
    metrics = json.loads((folder / "metrics.json").read_text())
    assert list(metrics["test"]) == ["unmasked"]
    assert metrics["test"]["unmasked"]["hit@10"] == 1  # of six items
    assert not (folder / "test_users.parquet").exists()


def test_split_without_validation_items(make_config):
    """RecBole then chooses no epoch; the table of no user is there all the same."""
    _, folder = evaluated(make_config("SASRec", eval_args={**FULL, "split": {"LS": "test_only"}, "mode": "full"}))
    assert json.loads((folder / "metrics.json").read_text())["valid"] == {mode: {} for mode in MODES}
    assert len(read_users(folder / "valid_users.parquet").frame) == 0


@pytest.mark.parametrize("asked", MODES)
def test_result_is_flat_in_the_mode_that_is_asked_for(make_config, asked):
    result = Result.of(run_stages(make_config("SASRec", ROWS, eval_history=asked)))
    assert result.settings["eval_history"] == asked
    assert result.metrics["Base"]["test"] == result.modes["Base"]["test"][asked]
    lines = [line.split()[:2] for line in result.table().splitlines() if line.startswith("Base")]
    assert lines == [["Base", asked], ["Base", "repeat"], ["Base", "explore"]]


def test_all_modes_come_from_one_evaluation(make_config):
    config = make_config("SASRec", ROWS)
    run_stages(config)
    run = run_stages(make_config("SASRec", ROWS, eval_history="all"))
    assert run.reused["evaluation of Base"]
    result = Result.of(run)
    assert result.metrics["Base"]["test"] == result.modes["Base"]["test"]["unmasked"]
    lines = [line.split()[:2] for line in result.table().splitlines() if line.startswith("Base")]
    assert lines[:3] == [["Base", mode] for mode in MODES]
