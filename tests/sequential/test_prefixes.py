"""A row is its target's place; its prefix is gathered when asked for. All is RecBole's: test_prefixes_drop_in.py."""

import numpy as np
import torch
from recbole.data.dataset import SequentialDataset

from recbole_tslrec.data.dataset import Data
from recbole_tslrec.sequential.prefixes import PrefixDataset, places_before, position_in_history, take
from recbole_tslrec.training.recommender import RecommenderTrainer, build_model


def test_position_counts_the_users_earlier_interactions():
    assert position_in_history(torch.tensor([5, 5, 5, 2, 9, 9])).tolist() == [0, 1, 2, 0, 0, 1]


def test_places_before_the_target():
    place, counts = places_before(torch.tensor([7, 4]), torch.tensor([3, 1]), 4)
    assert place.tolist() == [[4, 5, 6, 0], [3, 0, 0, 0]]
    assert counts.tolist() == [[True, True, True, False], [True, False, False, False]]


def test_take_puts_zeros_where_nothing_counts():
    counts = torch.tensor([[True, False]])
    assert take(torch.tensor([9.0, float("nan")]), torch.tensor([[0, 1]]), counts).tolist() == [[9.0, 0.0]]
    wide = torch.tensor([[1, 2], [3, 4]])  # a column with two values a row
    assert take(wide, torch.tensor([[1, 0]]), counts).tolist() == [[[3, 4], [0, 0]]]


def test_row_holds_the_latest_items_before_its_target(make_config):
    rows = [("u", f"i{number}", float(number)) for number in range(5)]
    rows += [("v", f"i{number}", float(number)) for number in range(4)]
    dataset = PrefixDataset(make_config(interactions=rows, MAX_ITEM_LIST_LENGTH=2))
    dataset.build()
    token = dataset.field2id_token["item_id"]
    batch = dataset[np.arange(len(dataset))]
    by_target = {
        token[target]: [token[item] for item in items[:length]]
        for target, items, length in zip(batch["item_id"], batch["item_id_list"], batch["item_length"], strict=True)
    }
    assert by_target["i3"] == ["i1", "i2"]
    assert by_target["i1"] == ["i0"]


def test_sampled_evaluation_runs(make_config):
    eval_args = {"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user", "mode": "uni10"}
    config = make_config(eval_args=eval_args, train_mode="prefix")
    train_data, valid_data, _ = Data(config).loaders
    trainer = RecommenderTrainer(config, build_model(config, train_data))
    assert trainer.evaluate(valid_data, load_best_model=False)["hit@10"] > 0.5  # one of 11 is not among the first ten


def test_recbole_builds_it_for_the_names_of_the_package(make_config):
    from recbole.data import create_dataset

    for name in ("SASRec", "TSLRecGRU4Rec", "CICaser", "FMLPRec"):
        assert type(create_dataset(make_config(name))) is PrefixDataset


def test_fearec_keeps_the_list_columns_that_it_reads(make_config):
    from recbole.data import create_dataset

    assert type(create_dataset(make_config("FEARec"))) is SequentialDataset
