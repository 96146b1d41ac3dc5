"""When the training of a recommender ends, and what it says before it starts."""

import pytest

from recbole_tslrec.compute import precision
from recbole_tslrec.compute.log_once import log_once
from recbole_tslrec.data.dataset import Data
from recbole_tslrec.training.recommender import RecommenderTrainer, train_recommender
from tests.conftest import walks


@pytest.mark.parametrize(("minimum", "trained"), [(0, 3), (5, 5), (9, 7)])
def test_early_stopping_waits_for_the_minimum_of_epochs(make_config, tmp_path, monkeypatch, minimum, trained):
    """Validation is best in the first epoch; patience 1 ends at the third, and epochs is the bound in any case."""
    config = make_config(epochs=7, stopping_step=1, minimum_epochs=minimum)
    scores = iter(range(100, 0, -1))
    monkeypatch.setattr(RecommenderTrainer, "evaluate", lambda *_, **__: {"ndcg@10": next(scores)})
    train_data, valid_data, _ = Data(config).loaders
    report = train_recommender(config, train_data, valid_data, tmp_path)
    assert report["epochs"] == trained
    assert report["valid"] == {"ndcg@10": 100}


def test_windows_may_be_longer_than_a_batch(make_config, tmp_path):
    """Six histories of 38 training targets; the loader's guess is 8 batches of 32 targets."""
    config = make_config(interactions=walks(users=6, length=41), MAX_ITEM_LIST_LENGTH=50, train_batch_size=32)
    train_data, valid_data, _ = Data(config).loaders
    assert len(train_data) == 8 > len(list(train_data)) == 6
    train_recommender(config, train_data, valid_data, tmp_path, work=tmp_path)


@pytest.mark.parametrize("enable_amp", [True, False])
def test_slow_autocast_is_warned_of_where_it_is_on(make_config, tmp_path, monkeypatch, caplog, enable_amp):
    log_once.cache_clear()
    monkeypatch.setattr(precision, "computes_in_bfloat16", lambda device: False)
    config = make_config(epochs=1, enable_amp=enable_amp)
    train_recommender(config, *Data(config).loaders[:2], tmp_path)
    assert ("enable_amp: True trains in bfloat16" in caplog.text) is enable_amp
