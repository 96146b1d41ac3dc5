"""Several processes deal out the rows of a loader, and each is given the ranks of all."""

from types import SimpleNamespace

import pytest
import torch
from recbole.data.interaction import Interaction

from recbole_tslrec.compute import distributed
from recbole_tslrec.compute.distributed import Share
from recbole_tslrec.sequential import ranking_units
from recbole_tslrec.sequential.ranking_units import ranked_in_units

LENGTHS = torch.tensor([[5, 1, 4, 2, 3], [9, 8, 7, 6, 5]])  # of the histories of two batches


def model(causal):
    weight = torch.zeros(1)
    return SimpleNamespace(
        is_causal=causal, scores_are_products=True, ITEM_SEQ_LEN="length", parameters=lambda: iter([weight])
    )


def batches():
    for length in LENGTHS:
        yield Interaction({"length": length}), None, None, length * 10


def units_of(share, causal=True):
    """The targets of each unit, and what comes of giving 100 x number + target as the rank."""
    seen = []

    def rank(interaction, target, rows):
        assert (interaction["length"] * 10).equal(target)
        seen.append(target.tolist())
        return 100 * rows + target

    return seen, ranked_in_units(model(causal), batches(), rank, share)


@pytest.fixture(autouse=True)
def units_of_two(monkeypatch):
    monkeypatch.setattr(ranking_units, "_ROWS", {"cpu": 2})


def test_rows_of_like_length_go_together_and_keep_their_places():
    seen, ranks = units_of(distributed.ALONE)
    assert seen == [[10, 20], [30, 40], [50], [50, 60], [70, 80], [90]]
    assert ranks.tolist() == [50, 110, 240, 320, 430, 590, 680, 770, 860, 950]


def test_rows_stay_in_order_where_histories_cannot_be_cut():
    seen, _ = units_of(distributed.ALONE, causal=False)
    assert seen == [[50, 10], [40, 20], [30], [90, 80], [70, 60], [50]]


@pytest.mark.parametrize("processes", [2, 3, 7])
def test_shares_together_are_the_whole(monkeypatch, processes):
    """Seven processes share six units, so that one of them has none."""
    monkeypatch.setattr(distributed, "gather", lambda own: [own, torch.Size()])
    monkeypatch.setattr(distributed, "summed", lambda own: own)
    whole, ranks = units_of(distributed.ALONE)
    shares = [units_of(Share(number, processes)) for number in range(processes)]
    assert sum(found for _, found in shares).equal(ranks)
    assert sorted(unit for seen, _ in shares for unit in seen) == sorted(whole)
