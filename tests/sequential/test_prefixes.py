"""A row is its target's place; its prefix is gathered when asked for. Rows and values are RecBole's."""

import numpy as np
import pytest
import torch
from recbole.data import data_preparation
from recbole.data.dataset import SequentialDataset

from recbole_tslrec.data.dataset import Data
from recbole_tslrec.sequential.prefixes import PrefixDataset, places_before, position_in_history, take
from recbole_tslrec.training.recommender import RecommenderTrainer, build_model
from tests.conftest import walks


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


@pytest.fixture
def both(make_config):
    """The parts of one dataset, by this package and by RecBole."""
    config = make_config(
        interactions=walks(), train_mode="prefix", load_col={"inter": ["user_id", "item_id", "timestamp"]}
    )
    return tuple(data_preparation(config, kind(config)) for kind in (PrefixDataset, SequentialDataset))


def test_every_part_has_recboles_rows(both):
    for ours, theirs in zip(*both, strict=True):
        index = np.arange(len(theirs._dataset))
        rows, expected = ours._dataset[index], theirs._dataset[index]
        assert set(rows.columns) == set(expected.columns)
        for column in expected.columns:
            assert rows[column].dtype == expected[column].dtype
            assert torch.equal(rows[column], expected[column]), column


def test_batches_come_in_recboles_order(both):
    (ours, *_), (theirs, *_) = both
    for batch, expected in zip(ours, theirs, strict=True):
        assert torch.equal(batch["item_id_list"], expected["item_id_list"])
        assert torch.equal(batch["item_id"], expected["item_id"])


def test_slices_give_the_rows_that_they_give_in_recbole(both):
    """RecBole's loader for ``eval_args: {mode: uni100}`` takes a user's rows by a slice."""
    (ours, *_), (theirs, *_) = both
    rows, expected = ours._dataset[3:7], theirs._dataset[3:7]
    assert all(torch.equal(rows[column], expected[column]) for column in expected.columns)


def test_sampled_evaluation_runs(make_config):
    eval_args = {"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user", "mode": "uni10"}
    config = make_config(eval_args=eval_args, train_mode="prefix")
    train_data, valid_data, _ = Data(config).loaders
    trainer = RecommenderTrainer(config, build_model(config, train_data))
    assert trainer.evaluate(valid_data, load_best_model=False)["hit@10"] > 0.5  # one of 11 is not among the first ten


def unmade(dataset):
    """The list columns of a dataset that nobody has asked for."""
    return {name for name, column in dict.items(dataset.inter_feat.interaction) if column is None}


def test_no_list_column_is_held(both):
    (ours, *_), _ = both
    assert unmade(ours._dataset) == {"item_id_list", "timestamp_list"}


def test_sparse_matrix_of_all_interactions_is_recboles(both):
    (ours, *_), (theirs, *_) = both
    difference = ours._dataset.inter_matrix("csr") != theirs._dataset.inter_matrix("csr")
    assert difference.nnz == 0


def test_recbole_builds_it_for_the_names_of_the_package(make_config):
    from recbole.data import create_dataset

    for name in ("SASRec", "TSLRecGRU4Rec", "CICaser", "FMLPRec"):
        assert type(create_dataset(make_config(name))) is PrefixDataset


def test_fearec_keeps_the_list_columns_that_it_reads(make_config):
    from recbole.data import create_dataset

    assert type(create_dataset(make_config("FEARec"))) is SequentialDataset
