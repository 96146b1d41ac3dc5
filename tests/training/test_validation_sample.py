"""``valid_users``: epochs are validated on a fixed sample of users, the best one on all of them."""

import logging
from typing import Any

import pytest

from recbole_tslrec.data.dataset import Data
from recbole_tslrec.settings import ConfigError
from recbole_tslrec.settings.recommender import TrainingSettings
from recbole_tslrec.training import recommender
from recbole_tslrec.training.recommender import RecommenderTrainer, train_recommender
from recbole_tslrec.training.validation_sample import loader_of_users


@pytest.fixture
def valid_data(make_config):
    return Data(make_config()).loaders[1]


def users_of(loader: Any) -> list[int]:
    return [int(user) for batch in loader for user in batch[0]["user_id"]]


def test_the_sample_is_the_same_in_every_epoch_and_another_with_another_seed(valid_data):
    sample = loader_of_users(valid_data, 5, seed=1)
    assert users_of(sample) == users_of(sample) == users_of(loader_of_users(valid_data, 5, seed=1))
    assert len(set(users_of(sample))) == 5
    assert set(users_of(sample)) < set(users_of(valid_data))
    assert users_of(loader_of_users(valid_data, 5, seed=2)) != users_of(sample)


def test_all_rows_of_a_drawn_user_are_kept_as_they_are(make_config):
    """With shares in the place of leave-one-out a user has several."""
    config = make_config(eval_args={"split": {"RS": [0.4, 0.5, 0.1]}, "order": "TO", "group_by": "user"})
    everyone = Data(config).loaders[1]
    sample = loader_of_users(everyone, 3, seed=1)
    drawn = set(users_of(sample))
    wanted = [row for row in rows_of(everyone) if row[0] in drawn]
    assert len(wanted) > 3
    assert rows_of(sample) == wanted


def rows_of(loader: Any) -> list[tuple[int, list[int], int]]:
    rows = []
    for interaction, _, _, target in loader:
        columns = (interaction["user_id"], interaction["item_id_list"], target)
        rows += [(int(user), items.tolist(), int(item)) for user, items, item in zip(*columns, strict=True)]
    return rows


@pytest.mark.parametrize("count", [None, 40, 10_000])
def test_as_many_as_there_are_is_all(valid_data, count):
    assert len(set(users_of(valid_data))) == 40
    assert loader_of_users(valid_data, count, seed=1) is valid_data


def test_the_sample_chooses_the_epoch_and_all_users_are_reported(make_config, tmp_path, monkeypatch, caplog):
    """The second epoch is the best of the sample; what all users say of it is asked once, with its weights."""
    config, asked = make_config(epochs=3, minimum_epochs=0, valid_users=7), []
    scores = iter([0.1, 0.3, 0.2, 0.9])

    def evaluate(trainer, loader, load_best_model=True, **_):
        asked.append((len(users_of(loader)), load_best_model))
        return {"ndcg@10": next(scores)}

    monkeypatch.setattr(RecommenderTrainer, "evaluate", evaluate)
    loaded = []
    monkeypatch.setattr(recommender, "load_weights", lambda model, path: loaded.append(path.name))
    train_data, valid_data, _ = Data(config).loaders
    with caplog.at_level(logging.INFO):
        report = train_recommender(config, train_data, valid_data, tmp_path)
    assert asked == [(7, False), (7, False), (7, False), (40, False)]
    assert loaded == ["model.safetensors"]
    assert (report["valid"], report["valid_of_sample"]) == ({"ndcg@10": 0.9}, {"ndcg@10": 0.3})
    assert report["valid_users"] == 7
    assert "validated on 7 users drawn once (valid_users)" in caplog.text
    assert "on all validation users: {'ndcg@10': 0.9}; on the sample that chose it: {'ndcg@10': 0.3}" in caplog.text


def test_without_the_key_nothing_is_validated_twice(make_config, tmp_path):
    config = make_config(epochs=1)
    train_data, valid_data, _ = Data(config).loaders
    report = train_recommender(config, train_data, valid_data, tmp_path)
    assert set(report) == {"valid", "valid_history", "epochs"}


@pytest.mark.parametrize("value", [0, -3, 1.5, True, "many"])
def test_bad_numbers_are_refused(make_config, value):
    with pytest.raises(ConfigError, match=r"valid_users must be a whole number above 0, not \["):
        TrainingSettings.of(make_config(valid_users=value))
