"""The ranks of every backbone in every history mode, against masking the whole matrix of scores."""

import pandas as pd
import pytest
import torch

from recbole_tslrec.configuration.config import Config
from recbole_tslrec.data.dataset import Data
from recbole_tslrec.evaluation.held_out import held_out
from recbole_tslrec.evaluation.trained_model import rank_held_out
from recbole_tslrec.models.backbones import BACKBONES
from recbole_tslrec.sequential import ranking
from recbole_tslrec.training.recommender import RecommenderTrainer, build_model
from tests.contracts.ml_100k_head import NAME, SETTINGS, SMALL, write_head


@pytest.fixture(scope="module")
def data_path(tmp_path_factory):
    """The head of ml-100k, where every third user comes back to an item at the end: the test target is a repeat."""
    folder = write_head(tmp_path_factory.mktemp("data"))
    file = folder / NAME / f"{NAME}.inter"
    rows = pd.read_csv(file, sep="\t")
    again = rows.groupby("user_id:token").nth(5)
    again = again[again["user_id:token"] % 3 == 0].assign(**{"timestamp:float": rows["timestamp:float"].max() + 1})
    pd.concat([rows, again]).to_csv(file, sep="\t", index=False)
    return folder


@pytest.fixture(params=BACKBONES)
def trainer_and_data(request, data_path):
    """Weights drawn at random; the histories are four times as long as what the models read."""
    config = Config(request.param, NAME, [], {**SMALL, **SETTINGS.get(request.param, {}), "data_path": str(data_path)})
    data = Data(config)
    trainer = RecommenderTrainer(config, build_model(config, data.loaders[0]))
    trainer.model.eval()
    return trainer, data


def histories(data_path):
    """By user token: all items in the order of time."""
    rows = pd.read_csv(data_path / NAME / f"{NAME}.inter", sep="\t", dtype={"user_id:token": str, "item_id:token": str})
    rows = rows.sort_values(["user_id:token", "timestamp:float"], kind="stable")
    return rows.groupby("user_id:token")["item_id:token"].agg(list)


@torch.no_grad()
def masked_ranks(model, interaction, data, before, mode):
    """By sorting scores in which what the mode masks is minus infinity; of equal scores the smaller id comes first."""
    targets = interaction["item_id"]
    scores = model.full_sort_predict(interaction).view(len(targets), -1)[:, 1:].double()  # [B, N]
    ids = data.dataset.field2token_id["item_id"]
    tokens = data.dataset.field2id_token["user_id"][interaction["user_id"]]
    for row, user in enumerate(tokens):
        seen = {ids[item] for item in before[user]}
        masked = {"unmasked": set(), "keep_target": seen - {int(targets[row])}, "strict": seen}[mode]
        scores[row, [item - 1 for item in masked]] = -torch.inf
    order = scores.argsort(dim=1, descending=True, stable=True)
    ranks = 1 + (order == targets.unsqueeze(1) - 1).int().argmax(dim=1)
    return ranks.where(scores.gather(1, targets.unsqueeze(1) - 1).squeeze(1) > -torch.inf, scores.shape[1] + 1)


@pytest.mark.parametrize(("part", "left_out"), [("valid", 2), ("test", 1)])
def test_ranks_are_those_of_masked_scores(trainer_and_data, data_path, part, left_out):
    trainer, data = trainer_and_data
    rows = held_out(data, part)
    ranks = rank_held_out(trainer.model, rows).by_mode(rows.repeat, rows.item_count, 10)
    before = {user: items[:-left_out] for user, items in histories(data_path).items()}
    (batch,) = rows.loader
    for mode, found in ranks.items():
        expected = masked_ranks(trainer.model, batch[0].to(trainer.device), data, before, mode)
        assert found.tolist() == expected.tolist(), mode
    if part == "test":
        assert (ranks["strict"] == rows.item_count + 1).sum() == 20
        assert (ranks["keep_target"] < ranks["unmasked"]).any()


@pytest.mark.parametrize("trainer_and_data", ["SASRec", "Caser"], indirect=True)
def test_chunks_of_users_and_items_give_the_same(trainer_and_data, monkeypatch):
    trainer, data = trainer_and_data
    rows = held_out(data, "test")
    whole = rank_held_out(trainer.model, rows)
    monkeypatch.setattr(ranking, "_PORTIONS", {"cpu": ranking.Portions(scores=700, whole=0, chunk=100)})
    monkeypatch.setattr(ranking, "_MODEL_SCORES", 700)
    rows.loader.step, rows.loader._batch_size = 7, 7
    in_chunks = rank_held_out(trainer.model, rows)
    assert in_chunks.unmasked.tolist() == whole.unmasked.tolist()
    assert in_chunks.seen_before.tolist() == whole.seen_before.tolist()
