"""When the training of a recommender ends."""

import pytest

from recbole_tslrec.data.dataset import Data
from recbole_tslrec.training.recommender import RecommenderTrainer, train_recommender


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
