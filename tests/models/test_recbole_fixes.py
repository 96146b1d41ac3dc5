"""What RecBole's own classes get wrong, and ours do not."""

from types import SimpleNamespace

import pytest
import torch
from recbole.model import sequential_recommender
from recbole.quick_start import run_recbole
from recbole.trainer import PretrainTrainer
from torch.nn.utils import parametrize

import recbole_tslrec.models as models
from recbole_tslrec.data.dataset import Data
from recbole_tslrec.settings import derive
from recbole_tslrec.store.files import write_tensors
from recbole_tslrec.training.recommender import build_model

MENDED = ["CORE", "GRU4RecCPR", "RepeatNet", "S3Rec", "SASRecCPR", "SHAN"]


@pytest.mark.parametrize("name", MENDED)
def test_stock_recbole_keeps_its_own_class(name):
    own, stock = getattr(models, name), getattr(sequential_recommender, name)
    assert issubclass(own, stock)
    assert stock.__module__ == f"recbole.model.sequential_recommender.{name.lower()}"


def test_shan_scores_rows_with_pads_in_front(make_config):
    """A history alone in its row, and the same behind pads, are one history."""
    config = make_config("SHAN")
    data = Data(config)
    users = next(iter(data.loaders[1]))[0]
    model = build_model(config, data.loaders[0]).eval()
    with torch.no_grad():
        before = model.full_sort_predict(users)
        users["item_id_list"].zero_()
        assert torch.equal(model.full_sort_predict(users), before)


@pytest.mark.parametrize("name", ["SASRecCPR", "GRU4RecCPR"])
def test_cpr_models_refuse_the_loss_that_ends_recbole(make_config, name):
    config = make_config(name, loss_type="BPR")
    with pytest.raises(ValueError, match=rf"{name} trains with loss_type CE only, not \[BPR\]"):
        build_model(config, Data(config).loaders[0])


def test_repeatnet_trains_in_mixed_precision(make_config):
    config = make_config("RepeatNet", enable_amp=True)
    train_data = Data(config).loaders[0]
    model = build_model(config, train_data)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.isfinite(model.calculate_loss(next(iter(train_data))))


# S3Rec's two phases


@pytest.fixture
def s3rec(make_config, make_knowledge, tmp_path):
    """``s3rec(name, **settings)``: a model on data whose items have a class, i0 and i2 one, i1 and i3 another, ..."""
    columns = {"inter": ["user_id", "item_id", "timestamp"], "item": ["item_id", "class"]}
    config = make_config("TSLRecS3Rec", load_col=columns)
    items = "".join(f"i{item}\tc{item % 2} all\n" for item in range(30))
    (tmp_path / "data" / "toy" / "toy.item").write_text(f"item_id:token\tclass:token_seq\n{items}")
    data = Data(config)
    rows = torch.randn(len(data.item_tokens), 6, generator=torch.Generator().manual_seed(0))
    config["knowledge_path"] = str(make_knowledge(data.item_tokens, rows).folder)

    def make(name, **settings):
        return build_model(derive(config, model=name, **settings), data.loaders[0])

    make.config = config
    return make


def weights(model):
    """The parameters by name; the ID part of a fused table under its plain name."""
    return {
        name.replace("item_embedding.parametrizations.weight.original", "item_embedding.weight"): parameter
        for name, parameter in model.named_parameters()
    }


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
@pytest.mark.parametrize("first", ["S3Rec", "TSLRecS3Rec"])
@pytest.mark.parametrize("second", ["S3Rec", "TSLRecS3Rec"])
def test_fine_tuning_starts_from_the_pretrained_weights(s3rec, tmp_path, first, second, suffix):
    """All that both models have, the fusion included where both are fused."""
    pretrained = s3rec(first)
    with torch.no_grad():
        for parameter in pretrained.parameters():
            parameter.add_(1)
    path = tmp_path / f"pretrained.{suffix}"
    if suffix == "pth":
        optimizer = torch.optim.Adam(pretrained.parameters())
        trainer = SimpleNamespace(config=s3rec.config, model=pretrained, optimizer=optimizer)
        PretrainTrainer.save_pretrained_model(trainer, 0, str(path))
    else:
        write_tensors(path, pretrained.state_dict())
    before, after = weights(pretrained), weights(s3rec(second, train_stage="finetune", pre_model_path=str(path)))
    assert before.keys() <= after.keys() or after.keys() <= before.keys()
    for name in before.keys() & after.keys():
        assert torch.equal(before[name], after[name]), name


def test_fusion_starts_at_the_scale_of_the_pretrained_items(s3rec, tmp_path):
    pretrained = s3rec("S3Rec")
    with torch.no_grad():
        pretrained.item_embedding.weight.mul_(50)
    write_tensors(tmp_path / "plain.safetensors", pretrained.state_dict())
    path = str(tmp_path / "plain.safetensors")
    model = s3rec("TSLRecS3Rec", train_stage="finetune", pre_model_path=path)
    assert parametrize.is_parametrized(model.item_embedding)
    expected = pretrained.item_embedding.weight[1:31].std().item()
    assert model.item_embedding.weight[1:31].std().item() == pytest.approx(expected, rel=0.2)


def test_missing_checkpoint_is_named(s3rec):
    with pytest.raises(FileNotFoundError, match=r"pre_model_path \[nowhere.pth\]; run with train_stage=pretrain first"):
        s3rec("TSLRecS3Rec", train_stage="finetune", pre_model_path="nowhere.pth")


def test_stock_recbole_runs_both_phases(s3rec, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["x"])
    keys = ("load_col", "MAX_ITEM_LIST_LENGTH", "hidden_size", "inner_size", "epochs", "knowledge_path")
    settings = {key: s3rec.config[key] for key in keys} | {"data_path": str(tmp_path / "data")}
    settings |= {"pretrain_epochs": 1, "save_step": 1, "checkpoint_dir": str(tmp_path), "show_progress": False}
    run_recbole("TSLRecS3Rec", "toy", config_dict=dict(settings), saved=False)
    checkpoint = str(tmp_path / "TSLRecS3Rec-toy-1.pth")
    result = run_recbole(
        "TSLRecS3Rec", "toy", config_dict={**settings, "train_stage": "finetune", "pre_model_path": checkpoint}
    )
    assert 0 <= result["test_result"]["ndcg@10"] <= 1
