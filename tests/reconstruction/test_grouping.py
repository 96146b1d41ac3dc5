"""k-means on item embeddings."""

import numpy as np
import pytest
import torch

from recbole_tslrec.reconstruction import grouping
from recbole_tslrec.reconstruction.grouping import check_group_count, group_items, starts_of
from tests.planted import separated_rows

CATEGORY = np.arange(60) % 5


@pytest.mark.parametrize("limit", [grouping.FULL_KMEANS_LIMIT, 10])
def test_separated_clusters_are_found(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    """With KMeans, and with the mini-batches of large catalogues."""
    monkeypatch.setattr(grouping, "FULL_KMEANS_LIMIT", limit)
    rows = separated_rows(CATEGORY, 8)
    groups, centers = group_items(rows, 5, seed=0)
    assert len({(int(g), int(c)) for g, c in zip(groups, CATEGORY, strict=True)}) == 5  # one group, one category
    for group in range(5):
        torch.testing.assert_close(centers[group], rows[groups == group].mean(dim=0), rtol=0, atol=0.1)


def test_same_seed_same_groups() -> None:
    rows = torch.randn(300, 6, generator=torch.Generator().manual_seed(0))
    first, second = group_items(rows, 9, seed=4), group_items(rows, 9, seed=4)
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])


@pytest.mark.parametrize(
    ("items", "starts"), [(60, 10), (12_101, 10), (20_000, 10), (20_001, 9), (100_000, 2), (100_001, 1), (200_000, 1)]
)
def test_large_catalogues_have_fewer_starts(items: int, starts: int) -> None:
    assert starts_of(items) == starts


@pytest.mark.parametrize("group_count", [1, 61])
def test_group_count_must_fit_the_catalogue(group_count: int) -> None:
    with pytest.raises(ValueError, match=rf"group_count \[{group_count}\] must lie between 2 and .*\[60\]"):
        group_items(separated_rows(CATEGORY, 8), group_count, seed=0)


@pytest.mark.parametrize("group_count", [2, 60])
def test_good_group_counts(group_count: int) -> None:
    check_group_count(group_count, 60)
