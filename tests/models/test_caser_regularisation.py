"""Caser's L2 loss on its weights sees the ID embeddings, not the fused table."""

import copy

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from recbole_tslrec.augmentation.fusion import FUSIONS
from recbole_tslrec.data.dataset import Data
from recbole_tslrec.training.recommender import build_model

REG_WEIGHT = 0.5  # not RecBole's 1e-4: the norms must show in the loss


@pytest.fixture(params=FUSIONS)
def model_and_batch(request, make_config, make_knowledge):
    """A TSLRecCaser without dropout, whose fused table is far larger than its ID part, and a training batch."""
    config = make_config("TSLRecCaser", fusion_type=request.param, reg_weight=REG_WEIGHT)
    data = Data(config)
    train_data = data.loaders[0]
    knowledge = make_knowledge(data.item_tokens, torch.randn(len(data.item_tokens), 6))
    config["knowledge_path"] = str(knowledge.folder)
    model = build_model(config, train_data).eval()
    with torch.no_grad():
        model.item_embedding.parametrizations.weight[0].source.linear.bias.fill_(5.0)
    return model, next(iter(train_data)).to(config["device"])


def expected_loss(model, batch) -> Tensor:
    """Cross entropy plus reg_weight times the 2-norms of the weights, as Caser.calculate_loss sums them."""
    id_part = model.item_embedding.parametrizations.weight.original
    weights = [model.user_embedding.weight, id_part, model.conv_v.weight, model.fc1.weight, model.fc2.weight]
    norms = sum(weight.norm(2) for weight in [*weights, *(conv.weight for conv in model.conv_h)])
    return functional.cross_entropy(model.full_sort_predict(batch), batch["item_id"]) + REG_WEIGHT * norms


def test_norm_is_of_the_id_part(model_and_batch):
    model, batch = model_and_batch
    torch.testing.assert_close(model.calculate_loss(batch), expected_loss(model, batch))


def test_norm_of_the_fused_table_would_show(model_and_batch):
    """Keeps the test above honest: the two norms differ by far more than its tolerance."""
    model, _ = model_and_batch
    id_part = model.item_embedding.parametrizations.weight.original
    assert model.item_embedding.weight.norm() > 2 * id_part.norm()


def test_deep_copy_regularises_its_own_id_part(model_and_batch):
    model, batch = model_and_batch
    copied = copy.deepcopy(model)
    with torch.no_grad():
        copied.item_embedding.parametrizations.weight.original.mul_(3)
    torch.testing.assert_close(copied.calculate_loss(batch), expected_loss(copied, batch))
    torch.testing.assert_close(model.calculate_loss(batch), expected_loss(model, batch))
