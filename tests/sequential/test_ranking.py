"""Ranks counted in chunks against ranks by sorting, and RecBole's metrics from them."""

import pytest
import torch

from recbole_tslrec.configuration.config import Config
from recbole_tslrec.data.dataset import Data
from recbole_tslrec.sequential import ranking
from recbole_tslrec.sequential.ranking import count_before, hits, ranks_by_table
from recbole_tslrec.training.recommender import RecommenderTrainer, build_model


def test_rank_is_one_more_than_the_items_that_score_higher():
    table = torch.tensor([[100.0], [3.0], [1.0], [2.0]])  # the pad would come first
    ranks = ranks_by_table(torch.tensor([[1.0], [1.0], [-1.0]]), table, torch.tensor([1, 2, 2]))
    assert ranks.tolist() == [1, 3, 1]


@pytest.mark.parametrize("chunk", [1, 3, 5, 100])
def test_chunks_give_the_ranks_of_the_whole(monkeypatch, chunk):
    torch.manual_seed(0)
    query, table, target = torch.randn(9, 4), torch.randn(31, 4), torch.randint(1, 31, (9,))
    by_sorting = (query @ table[1:].T).argsort(dim=1, descending=True).argsort(dim=1).gather(1, target[:, None] - 1)
    monkeypatch.setattr(ranking, "_PORTIONS", {"cpu": ranking.Portions(scores=2 * chunk, whole=0, chunk=chunk)})
    assert ranks_by_table(query, table, target).tolist() == (by_sorting.squeeze(1) + 1).tolist()


def test_rows_are_whole_as_far_as_they_may_be_and_few_at_a_time(monkeypatch):
    """31 items: whole rows of 31, two together, as 70 scores are held; or chunks of 10 for at most seven of 9 rows."""
    held = []
    count = ranking.count_before
    monkeypatch.setattr(
        ranking, "count_before", lambda scores, *rest: (held.append(tuple(scores.shape)), count(scores, *rest))[1]
    )
    query, table, target = torch.randn(9, 4), torch.randn(32, 4), torch.randint(1, 32, (9,))
    for whole, shapes in ((31, {(2, 31), (1, 31)}), (30, {(5, 10), (5, 1), (4, 10), (4, 1)})):
        monkeypatch.setattr(ranking, "_PORTIONS", {"cpu": ranking.Portions(scores=70, whole=whole, chunk=10)})
        held.clear()
        ranks_by_table(query, table, target)
        assert set(held) == shapes


@pytest.mark.parametrize("chunk", [1, 2, 100])
def test_of_equal_scores_the_smaller_id_comes_first(monkeypatch, chunk):
    monkeypatch.setattr(ranking, "_PORTIONS", {"cpu": ranking.Portions(scores=100, whole=0, chunk=chunk)})
    table = torch.tensor([[0.0], [1.0], [2.0], [1.0], [1.0]])
    ranks = ranks_by_table(torch.ones(3, 1), table, torch.tensor([1, 3, 4]))
    assert ranks.tolist() == [2, 3, 4]


def test_a_target_whose_score_is_no_number_comes_last():
    scores = torch.tensor([[1.0, float("nan"), 3.0]])
    assert count_before(scores, scores[:, 1:2], torch.tensor([2]), 1).tolist() == [3]


def test_scores_that_are_no_numbers_count_as_better():
    scores = torch.tensor([[1.0, float("nan"), 0.0]])
    assert count_before(scores, scores[:, :1], torch.tensor([1]), 1).tolist() == [1]


def test_hits_mark_the_place_of_the_target():
    assert hits(torch.tensor([2, 4]), 3).tolist() == [[0, 1, 0, 1], [0, 0, 0, 1]]


@pytest.fixture
def trainer_and_data(make_config):
    def make(model, **settings):
        config = make_config(model, metric_decimal_place=12, eval_batch_size=7, **settings)
        train_data, valid_data, _ = Data(config).loaders
        return RecommenderTrainer(config, build_model(config, train_data)), valid_data

    return make


@pytest.mark.parametrize("model", ["SASRec", "GRU4Rec", "Caser", "FMLPRec", "SRGNN", "BERT4Rec", "TransRec", "CORE"])
def test_metrics_are_recboles_to_the_last_digit(trainer_and_data, monkeypatch, model):
    """With and without a table of which the scores are products."""
    settings = {"loss_type": "BPR"} if model == "TransRec" else {}
    trainer, data = trainer_and_data(model, metrics=["Hit", "NDCG", "MRR", "Precision", "MAP", "Recall"], **settings)
    found = trainer.evaluate(data, load_best_model=False)
    monkeypatch.setattr(RecommenderTrainer, "_needs_ranks_only", lambda *_: False)
    assert trainer.evaluate(data, load_best_model=False) == found
    assert 0 < found["hit@10"] < 1


def test_metrics_that_need_more_than_ranks_are_left_to_recbole(trainer_and_data):
    trainer, data = trainer_and_data("SASRec", metrics=["Hit", "GAUC"], valid_metric="Hit@10")
    assert set(trainer.evaluate(data, load_best_model=False)) == {"hit@5", "hit@10", "gauc"}


def test_scores_of_few_users_are_held_at_once(trainer_and_data, monkeypatch):
    trainer, data = trainer_and_data("Caser")
    held = []
    count = ranking.count_before
    monkeypatch.setattr(ranking, "_MODEL_SCORES", 3 * trainer.model.n_items)
    monkeypatch.setattr(
        ranking, "count_before", lambda scores, *rest: (held.append(len(scores)), count(scores, *rest))[1]
    )
    trainer.evaluate(data, load_best_model=False)
    assert max(held) == 3
    assert sum(held) == 40


def test_metrics_on_ml_100k_are_recboles(monkeypatch):
    """A real dataset, weights drawn at random: 943 users, 1,682 items, twelve digits."""
    settings = {"metric_decimal_place": 12, "metrics": ["Hit", "NDCG", "MRR"], "MAX_ITEM_LIST_LENGTH": 10}
    config = Config("SASRec", "ml-100k", [], settings)
    train_data, _, test_data = Data(config).loaders
    trainer = RecommenderTrainer(config, build_model(config, train_data))
    found = trainer.evaluate(test_data, load_best_model=False)
    monkeypatch.setattr(RecommenderTrainer, "_needs_ranks_only", lambda *_: False)
    assert trainer.evaluate(test_data, load_best_model=False) == found
    assert 0 < found["hit@10"] < 0.1
