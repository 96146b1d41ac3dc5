"""Table 1 of the paper: the size of its datasets."""

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Counts:
    """The size of a dataset.

    Attributes:
        users: M.
        items: N.
        interactions: the interactions of all users, repeats counted.
    """

    users: int
    items: int
    interactions: int


TABLE1 = {
    "beauty": Counts(users=22_363, items=12_101, interactions=198_502),
    "ml-1m": Counts(users=6_040, items=3_416, interactions=999_611),
    "yelp": Counts(users=30_431, items=20_033, interactions=316_354),
}


def difference(name: str, counts: Counts) -> dict[str, int] | None:
    """How a dataset differs from the paper's of the same name.

    Args:
        name: the name of the dataset.
        counts: the counts of the dataset.

    Returns:
        ``users``, ``items`` and ``interactions``, each less the paper's: all 0 where they agree. ``None`` where Table 1
        has no dataset of that name.
    """
    paper = TABLE1.get(name)
    if paper is None:
        return None
    found, wanted = asdict(counts), asdict(paper)
    return {what: found[what] - wanted[what] for what in wanted}
