"""Ranks of targets by the scores of a network."""

import math

import pytest
import torch

from recbole_tslrec.baselines.ranks import ndcg_of_ranks, ranks_of_targets

NAN = math.nan


@pytest.mark.parametrize(
    ("scores", "target", "rank"),
    [
        ([3.0, 1.0, 2.0], 2, 2),
        ([3.0, 3.0, 3.0], 0, 1),  # of equal scores the first comes first
        ([3.0, 3.0, 3.0], 2, 3),
        ([NAN, 1.0, 0.0], 1, 2),  # what is no number counts as better
        ([3.0, NAN, 2.0], 1, 3),
        ([NAN, NAN, NAN], 0, 3),
    ],
)
def test_rank_of_a_target(scores: list[float], target: int, rank: int) -> None:
    assert ranks_of_targets(torch.tensor([scores]), torch.tensor([target])).tolist() == [rank]


def test_ndcg_is_zero_beyond_the_cutoff() -> None:
    assert ndcg_of_ranks(torch.tensor([1, 3, 10, 11]), 10).tolist() == pytest.approx([1, 0.5, 1 / math.log2(11), 0])
