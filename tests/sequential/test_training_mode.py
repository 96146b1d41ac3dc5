"""All positions at once, and losses of this package, over RecBole's models."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from recbole_tslrec.data.dataset import Data
from recbole_tslrec.models.backbones import BACKBONES
from recbole_tslrec.pipeline import plan
from recbole_tslrec.settings import derive
from recbole_tslrec.training.recommender import build_model, train_recommender
from tests.conftest import walks

# causal models that need nothing but ids
CAUSAL = ["SASRec", "GRU4Rec", "LRURec", "LiGR", "HSTU"]
OWN = [name for name, backbone in BACKBONES.items() if backbone.own]


def first_batch(config):
    train_data = Data(config).loaders[0]
    return build_model(config, train_data), next(iter(train_data))


@pytest.mark.parametrize("model", CAUSAL)
def test_every_position_is_the_vector_of_its_prefix(make_config, model):
    """Without dropout, position t of a window is what `forward` gives for the prefix that ends there."""
    settings = {"hidden_dropout_prob": 0.0, "attn_dropout_prob": 0.0, "dropout_prob": 0.0}
    network, batch = first_batch(make_config(model, train_mode="all_positions", **settings))
    items, length = batch["item_id_list"], batch["item_length"]
    every = network._queries(batch)  # [B, L, d]
    for t in range(int(length.min())):
        prefix = items.clone()
        prefix[:, t + 1 :] = 0
        torch.testing.assert_close(every[:, t], network.forward(prefix, torch.full_like(length, t + 1)))


@pytest.mark.parametrize("model", CAUSAL)
def test_loss_is_the_mean_over_all_targets(make_config, model):
    settings = {"hidden_dropout_prob": 0.0, "attn_dropout_prob": 0.0, "dropout_prob": 0.0}
    network, batch = first_batch(make_config(model, train_mode="all_positions", **settings))
    scores = network._queries(batch) @ network.output_table.T  # [B, L, N + 1]
    targets = batch["item_id"]
    expected = cross_entropy(scores[targets > 0], targets[targets > 0])
    assert network.calculate_loss(batch).item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("model", CAUSAL)
@pytest.mark.parametrize("loss", ["CE", "BPR", "sampled_softmax", "gBCE"])
@pytest.mark.parametrize("mode", ["prefix", "all_positions"])
def test_training_lowers_the_loss(make_config, model, loss, mode):
    settings = {"hidden_dropout_prob": 0.0, "attn_dropout_prob": 0.0, "dropout_prob": 0.0, "loss_negatives": 20}
    network, batch = first_batch(make_config(model, train_mode=mode, loss_type=loss, **settings))
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    losses = []
    for _ in range(20):
        losses.append(network.calculate_loss(batch))
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize("memory", [256, 1e-4])
@pytest.mark.parametrize("model", ["SASRec", "NARM", *OWN])
def test_the_loss_in_chunks_has_the_gradients_of_the_whole_one(make_config, model, memory):
    """In chunks: scores beyond the memory, and all those of networks that RecBole does not have."""
    network, batch = first_batch(make_config(model, train_mode="prefix", loss_memory=memory))
    assert network._computes_loss(batch) == (memory < 1 or model in OWN)
    torch.manual_seed(0)  # dropout
    network.calculate_loss(batch).backward()
    found = {name: parameter.grad.clone() for name, parameter in network.named_parameters()}
    network.zero_grad()
    torch.manual_seed(0)
    query = network.forward(batch[network.ITEM_SEQ], batch[network.ITEM_SEQ_LEN])
    cross_entropy(query @ network.output_table.T, batch[network.POS_ITEM_ID]).backward()
    for name, parameter in network.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad, rtol=1e-4, atol=1e-6, msg=name)


def test_losses_with_terms_of_their_own_are_never_chunked(make_config):
    network, batch = first_batch(make_config("Caser", loss_memory=1e-4))
    assert not network._computes_loss(batch)


@pytest.mark.parametrize("model", ["FMLPRec", "BERT4Rec", "NARM", "Caser"])
def test_models_that_see_later_items_are_refused_by_name(make_config, model):
    config = make_config(model, train_mode="all_positions")
    with pytest.raises(ValueError, match=rf"all_positions is not valid for {model}, .* docs/models.md names"):
        build_model(config, Data(derive(config, train_mode="prefix")).loaders[0])


def test_own_loss_is_refused_where_the_backbone_has_terms_of_its_own(make_config):
    config = make_config("Caser", loss_type="gBCE")
    with pytest.raises(ValueError, match=r"loss_type \[gBCE\] cannot replace the loss of Caser; set --loss_type=CE"):
        build_model(config, Data(config).loaders[0])


@pytest.mark.parametrize(
    ("loss", "negatives", "message"),
    [
        ("BPR", None, "BPR needs a negative for each target; leave train_neg_sample_args out"),
        ("gBCE", {"distribution": "uniform", "sample_num": 1}, r"loss_type \[gBCE\] draws loss_negatives of its own"),
    ],
)
def test_negatives_that_do_not_go_with_the_loss_are_refused(make_config, loss, negatives, message):
    with pytest.raises(ValueError, match=message):
        plan(make_config("SASRec", loss_type=loss, train_neg_sample_args=negatives))


def test_a_batch_in_which_nothing_is_masked_changes_nothing(make_config):
    """As may happen to a short last batch of BERT4Rec."""
    config = make_config("BERT4Rec")
    data = Data(config)
    model = build_model(config, data.loaders[0])
    batch = next(iter(data.loaders[0]))
    batch[model.MASK_INDEX].zero_()
    loss = model.calculate_loss(batch)
    loss.backward()
    assert loss.item() == 0
    assert all(parameter.grad is None or not parameter.grad.any() for parameter in model.parameters())


def test_unknown_loss_is_refused(make_config):
    with pytest.raises(ValueError, match=r"loss_type \[softmax\] is not one of CE, BPR, sampled_softmax, gBCE"):
        make_config(loss_type="softmax")


def test_unknown_mode_is_refused(make_config):
    with pytest.raises(ValueError, match=r"train_mode \[al_positions\] is not one of auto, prefix, all_positions"):
        make_config(train_mode="al_positions")


def test_training_with_windows_ends_with_a_better_model(make_config, tmp_path):
    """Users who walk with small steps: 30 items, so that guessing gives NDCG@10 of .15."""
    config = make_config(interactions=walks(users=200), train_mode="all_positions", epochs=8, learning_rate=0.01)
    train_data, valid_data, _ = Data(config).loaders
    report = train_recommender(config, train_data, valid_data, tmp_path)
    assert report["valid"]["ndcg@10"] > 0.3


def test_causal_models_read_their_positions_one_by_one():
    """`all_positions` overrides this method; a model that does not call it would train one position only."""
    import inspect

    from recbole.model import sequential_recommender

    for name, backbone in ((name, backbone) for name, backbone in BACKBONES.items() if backbone.causal):
        model = getattr(sequential_recommender, name, backbone.base)
        assert "gather_indexes" in inspect.getsource(model.forward)
