"""Windows: every target of a history once, all positions of a row at a time."""

import numpy as np
import pytest
import torch

from recbole_tslrec.configuration.config import Config
from recbole_tslrec.data.dataset import Data
from recbole_tslrec.sequential.windows import WindowLoader, batches_of_windows, cut_into_windows, runs_of_targets
from tests.conftest import walks


def random():
    return np.random.default_rng(0)


def test_runs_are_stretches_without_a_gap():
    start, stop = runs_of_targets(np.array([9, 1, 2, 3, 6, 7]))
    assert start.tolist() == [1, 6, 9]
    assert stop.tolist() == [4, 8, 10]


def test_short_stretches_stay_whole():
    start, stop = cut_into_windows((np.array([1, 10]), np.array([4, 15])), 5, random())
    assert start.tolist() == [1, 10]
    assert stop.tolist() == [4, 15]


def test_long_stretches_are_covered_once_by_windows_that_are_not_too_long():
    for seed in range(20):
        start, stop = cut_into_windows((np.array([3, 100]), np.array([26, 102])), 5, np.random.default_rng(seed))
        assert (stop > start).all()
        assert (stop - start <= 5).all()
        covered = np.concatenate([np.arange(*window) for window in zip(start, stop, strict=True)])
        assert covered.tolist() == [*range(3, 26), 100, 101]


def test_cuts_differ_between_epochs():
    run = (np.array([0]), np.array([50]))
    generator = random()
    first, second = (cut_into_windows(run, 20, generator)[0].tolist() for _ in range(2))
    assert first != second


def test_batches_hold_each_window_once_and_about_as_many_targets_as_asked_for():
    length = np.tile([1, 9, 4, 6], 50)  # 1,000 targets
    batches = batches_of_windows(length, 100, random())
    assert sorted(np.concatenate(batches)) == list(range(200))
    assert len(batches) == 10
    assert all(91 <= length[batch].sum() <= 109 for batch in batches)


def test_windows_longer_than_a_batch_are_batches_of_their_own():
    """Two of the numbers of batches, by the last target of each, are passed over."""
    batches = batches_of_windows(np.full(6, 40), 32, random())
    assert [len(batch) for batch in batches] == [1] * 6


def test_windows_of_like_length_are_together():
    length = np.tile([1, 9], 500)
    batches = batches_of_windows(length, 100, random())
    assert (
        sum(len(set(length[batch])) > 1 for batch in batches) <= 8
    )  # of 50; at the seams of pools and where 1 turns to 9


def test_without_shuffling_the_order_is_the_same_each_time():
    length = np.tile([3, 5], 40)
    first, second = (batches_of_windows(length, 20, random(), shuffle=False) for _ in range(2))
    assert [batch.tolist() for batch in first] == [batch.tolist() for batch in second]


@pytest.fixture
def loader(make_config):
    config = make_config(interactions=walks(users=20, items=15, length=9), train_mode="all_positions")
    return Data(config).loaders[0]


def test_data_preparation_gives_it_for_the_mode(loader):
    assert type(loader) is WindowLoader


def test_every_position_is_followed_by_its_target(loader):
    """Of a user's nine interactions the last two are held out: seven items, six of them targets."""
    rows = 0
    for batch in loader:
        for items, targets, length in zip(batch["item_id_list"], batch["item_id"], batch["item_length"], strict=True):
            assert length == 6
            assert torch.equal(items[1:length], targets[: length - 1])
            assert not items[length:].any()
            assert not targets[length:].any()
            rows += 1
    assert rows == 20


def test_targets_of_an_epoch_are_those_of_recboles_rows(make_config, loader):
    config: Config = make_config(interactions=walks(users=20, items=15, length=9))
    prefixes = Data(config).loaders[0]._dataset.inter_feat["item_id"]
    targets = torch.cat([batch["item_id"][batch["item_id"] > 0] for batch in loader])
    assert torch.equal(targets.sort().values, prefixes.sort().values)


def test_pairwise_losses_get_a_negative_for_each_target(make_config):
    config = make_config(loss_type="BPR", train_mode="all_positions")
    for batch in Data(config).loaders[0]:
        assert torch.equal(batch["neg_item_id"] > 0, batch["item_id"] > 0)
        assert not (batch["neg_item_id"] == batch["item_id"])[batch["item_id"] > 0].any()


def test_processes_share_the_batches(make_config, loader):
    whole = list(batches_of_windows(np.ones(40, dtype=int), 4, random()))
    shares = []
    for rank in range(2):
        loader.config = {"single_spec": False, "world_size": 2, "local_rank": rank}
        shares.append(loader._own_share(whole))
    assert [len(share) for share in shares] == [5, 5]
    assert sorted(np.concatenate([*shares[0], *shares[1]])) == list(range(40))


def test_of_fewer_batches_than_processes_each_process_takes_one(loader):
    shares = []
    for rank in range(3):
        loader.config = {"single_spec": False, "world_size": 3, "local_rank": rank}
        shares.append(loader._own_share(["first", "second"]))
    assert shares == [["first"], ["second"], ["first"]]


def test_rows_that_were_split_elsewhere_are_refused(make_config):
    dataset = Data(make_config()).loaders[0]._dataset
    dataset.inter_feat = {"item_id": torch.tensor([1])}  # as from benchmark_filename: no places among interactions
    with pytest.raises(ValueError, match="a dataset class of your own gives rows that are split"):
        WindowLoader(make_config(train_mode="all_positions"), dataset, None)
