"""How long the users' training histories are in the paper's datasets, and samples that stand for them.

``lengths.json`` holds, per dataset, how many users have a training history of each length: all interactions but the
last two, which leave-one-out holds out. It was counted with

    python benchmarks/lengths.py beauty=FOLDER/beauty.inter ml-1m=... yelp=...
"""

import argparse
import gzip
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

STORED = Path(__file__).with_name("lengths.json")
HELD_OUT = 2  # interactions: one to choose the epoch by, one to test
# name in the results -> (dataset, most recent items in a prompt)
CASES = {"beauty": ("beauty", 50), "ml1m": ("ml-1m", 50), "yelp": ("yelp", 50), "ml1m_long": ("ml-1m", 200)}


@dataclass(frozen=True)
class Lengths:
    """The training histories of a dataset.

    Attributes:
        users: their number.
        items: N.
        history: length of each user's training history, rising, int64 [users].
        max_items: most recent items in a prompt.
    """

    users: int
    items: int
    history: NDArray[np.int64]
    max_items: int

    @property
    def prompt_items(self) -> NDArray[np.int64]:
        """Items in the training prompt of each user, [users]."""
        return np.minimum(self.history, self.max_items)

    @property
    def inference_items(self) -> NDArray[np.int64]:
        """Items in the prompt from which the test item is predicted: the validation item belongs to it, [users]."""
        return np.minimum(self.history + 1, self.max_items)

    @property
    def instance_items(self) -> NDArray[np.int64]:
        """Items in each prompt of an instance-level epoch.

        One prompt for each training interaction but a user's first, for at most the ``max_items`` most recent ones.
        """
        # the target at place t (from 0) has t items before it
        places = [np.arange(max(1, length - self.max_items), length) for length in self.history.tolist()]
        return np.minimum(np.concatenate(places), self.max_items)


def load(case: str) -> Lengths:
    """The lengths of one of :data:`CASES`."""
    name, max_items = CASES[case]
    stored: dict[str, Any] = json.loads(STORED.read_text())[name]
    lengths = np.array([int(length) for length in stored["histogram"]], dtype=np.int64)
    users = np.array(list(stored["histogram"].values()), dtype=np.int64)
    return Lengths(stored["users"], stored["items"], np.repeat(lengths, users), max_items)


def sample(population: NDArray[np.int64], count: int, seed: int = 0) -> NDArray[np.int64]:
    """``count`` values in random order whose distribution is that of the population: its evenly spaced quantiles.

    So a small sample has nearly the population's mean and spread, and the same one every time.
    """
    ordered = np.sort(population)
    places = ((np.arange(count) + 0.5) / count * len(ordered)).astype(np.int64)
    return np.random.default_rng(seed).permutation(ordered[places])


def count(path: Path) -> dict[str, Any]:
    """Users, items, interactions and the histogram of training-history lengths of a RecBole ``.inter`` file."""
    data = path.read_bytes()
    lines = (gzip.decompress(data) if path.suffix == ".gz" else data).decode().splitlines()
    rows = [line.split("\t", 2)[:2] for line in lines[1:]]  # the first names the columns
    per_user = Counter(user for user, _ in rows)
    histogram = Counter(interactions - HELD_OUT for interactions in per_user.values())
    return {
        "users": len(per_user),
        "items": len({item for _, item in rows}),
        "interactions": len(rows),
        "histogram": {str(length): users for length, users in sorted(histogram.items())},
    }


def main() -> None:
    """Count the given files and write ``lengths.json``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", metavar="NAME=PATH", help="a dataset's .inter or .inter.gz file")
    named = (argument.split("=", 1) for argument in parser.parse_args().files)
    lines = [f"{json.dumps(name)}: {json.dumps(count(Path(path)))}" for name, path in named]
    STORED.write_text("{\n" + ",\n".join(lines) + "\n}\n")  # one line a dataset


if __name__ == "__main__":
    main()
