"""A few prefixes of each user in an epoch, other ones each time."""

import numpy as np
import pytest
import torch

from recbole_tslrec.data.dataset import Data
from recbole_tslrec.sequential.prefix_samples import PrefixSampleLoader, rows_of_each_user
from tests.conftest import walks

USERS, TARGETS = 20, 6  # of nine interactions two are held out, and the first is no target


@pytest.fixture
def loader(make_config):
    config = make_config(interactions=walks(users=USERS, items=15, length=9), prefixes_per_user=2, train_batch_size=16)
    return Data(config).loaders[0]


def rows(loader):
    """User, target and prefix of each row of an epoch."""
    return [
        (int(user), int(target), tuple(prefix.tolist()))
        for batch in loader
        for user, target, prefix in zip(batch["user_id"], batch["item_id"], batch["item_id_list"], strict=True)
    ]


def test_data_preparation_gives_it_for_the_key(loader):
    assert type(loader) is PrefixSampleLoader


def test_every_user_has_as_many_rows_as_asked_for(loader):
    epoch = rows(loader)
    assert np.bincount([user for user, _, _ in epoch]).tolist() == [0] + [2] * USERS
    assert len(loader) == 3  # 40 rows, 16 a step
    assert len(set(epoch)) == 2 * USERS


def test_rows_are_those_of_recbole(make_config, loader):
    every = rows(Data(make_config(interactions=walks(users=USERS, items=15, length=9), train_mode="prefix")).loaders[0])
    assert set(rows(loader)) < set(every)
    assert len(every) == USERS * TARGETS


def test_epochs_draw_other_rows_and_in_the_end_all(loader):
    epochs = [frozenset(rows(loader)) for _ in range(30)]
    assert len(set(epochs)) == 30
    assert len(frozenset().union(*epochs)) == USERS * TARGETS


def test_the_seed_decides_what_is_drawn(loader):
    first = rows(loader)
    loader.generator.manual_seed(loader.config["seed"])
    again = rows(loader)
    loader.generator.manual_seed(loader.config["seed"] + 1)
    assert (first == again, first == rows(loader)) == (True, False)


def test_pairwise_losses_get_a_negative_for_each_row(make_config):
    config = make_config(loss_type="BPR", prefixes_per_user=1)
    assert all(bool((batch["neg_item_id"] > 0).all()) for batch in Data(config).loaders[0])


def test_a_user_with_fewer_rows_has_all_of_them():
    users = np.array([7, 3, 7, 7, 3, 9])
    drawn = rows_of_each_user(users, 2, np.random.default_rng(0))
    assert np.bincount(users[drawn])[[3, 7, 9]].tolist() == [2, 2, 1]
    assert len(set(drawn)) == 5


def test_processes_take_equally_many_rows_and_none_twice(loader):
    found = []
    for rank in range(2):
        loader.generator = torch.Generator().manual_seed(1)
        loader.config = {"single_spec": False, "world_size": 2, "local_rank": rank}
        found.append(
            [(int(u), int(t)) for batch in loader for u, t in zip(batch["user_id"], batch["item_id"], strict=True)]
        )
    assert [len(share) for share in found] == [USERS, USERS]
    assert np.bincount([user for user, _ in found[0] + found[1]]).tolist() == [0] + [2] * USERS
