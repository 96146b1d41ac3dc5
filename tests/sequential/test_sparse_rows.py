"""Sparse gradients for large catalogues: the same step for the rows that it touches, none for the others."""

import pytest
import torch
from torch import nn

from recbole_tslrec.data.dataset import Data
from recbole_tslrec.sequential.sparse_rows import AdamWithSparseRows, use_sparse_rows
from recbole_tslrec.training import recommender
from recbole_tslrec.training.recommender import RecommenderTrainer, build_model


def test_first_step_is_adams_for_touched_rows_and_none_for_others():
    torch.manual_seed(0)
    plain, sparse, layer = nn.Embedding(6, 3), nn.Embedding(6, 3), nn.Linear(3, 1)
    sparse.load_state_dict(plain.state_dict())
    before = plain.weight.detach().clone()
    ids = torch.tensor([1, 4, 4])
    dense_optimizer = torch.optim.Adam([*plain.parameters()], lr=0.1)
    plain(ids).pow(2).sum().backward()
    dense_optimizer.step()
    optimizer = AdamWithSparseRows([*layer.parameters()], use_sparse_rows([sparse]), 0.1)
    optimizer.zero_grad()
    (sparse(ids).pow(2).sum() + layer(torch.ones(1, 3)).sum()).backward()
    optimizer.step()
    torch.testing.assert_close(sparse.weight[[1, 4]], plain.weight[[1, 4]])
    assert torch.equal(sparse.weight[[0, 2, 3, 5]], before[[0, 2, 3, 5]])


def test_state_can_be_taken_and_put_back():
    embedding, layer = nn.Embedding(4, 2), nn.Linear(2, 1)
    optimizer = AdamWithSparseRows([*layer.parameters()], use_sparse_rows([embedding]), 0.1)
    layer(embedding(torch.tensor([1]))).sum().backward()
    optimizer.step()
    other = AdamWithSparseRows([*layer.parameters()], use_sparse_rows([embedding]), 0.5)
    other.load_state_dict(optimizer.state_dict())
    assert [group["lr"] for group in other.param_groups] == [0.1, 0.1]
    assert float(other.parts[1].state_dict()["state"][0]["exp_avg"].abs().sum()) > 0


@pytest.fixture
def large(monkeypatch):
    monkeypatch.setattr(recommender, "SPARSE_FROM", 10)


def trainer(config):
    train_data = Data(config).loaders[0]
    return RecommenderTrainer(config, build_model(config, train_data)), train_data


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize("model", ["SASRec", "TSLRecSASRec"])
def test_sampled_loss_trains_a_large_catalogue_with_sparse_rows(make_config, make_knowledge, model):
    tokens = Data(make_config()).item_tokens
    path = str(make_knowledge(tokens, torch.randn(len(tokens), 5)).folder)
    config = make_config(model, loss_type="sampled_softmax", loss_negatives=4, train_batch_size=8, knowledge_path=path)
    training, train_data = trainer(config)
    assert isinstance(training.optimizer, AdamWithSparseRows)
    first, second = (training._train_epoch(train_data, epoch) for epoch in range(2))
    assert second < first
    embedding = training.model.item_embedding
    parameter = getattr(embedding, "parametrizations", None)
    parameter = parameter.weight.original if parameter else embedding.weight
    assert parameter.grad.is_sparse


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize("settings", [{"loss_type": "CE"}, {"weight_decay": 0.1}, {"clip_grad_norm": {"max_norm": 1}}])
def test_otherwise_the_optimizer_is_recboles(make_config, settings):
    config = make_config(**{"loss_type": "gBCE", "loss_negatives": 4, **settings})
    assert type(trainer(config)[0].optimizer) is torch.optim.Adam


def test_small_catalogues_keep_recboles_optimizer(make_config):
    config = make_config(loss_type="gBCE", loss_negatives=4)
    assert type(trainer(config)[0].optimizer) is torch.optim.Adam
