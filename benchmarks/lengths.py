"""How long the users' training histories are in the paper's datasets.

``lengths.json`` holds, per dataset, how many users have a training history of each length: all interactions but the
last two, which leave-one-out holds out. It was counted with

    python benchmarks/lengths.py beauty=FOLDER/beauty.inter ml-1m=... yelp=...
"""

import argparse
import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from recbole_tslrec.sft.prompt_lengths import PromptLengths

STORED = Path(__file__).with_name("lengths.json")
HELD_OUT = 2  # interactions: one to choose the epoch by, one to test
# name in the results -> (dataset, most recent items in a prompt)
CASES = {"beauty": ("beauty", 50), "ml1m": ("ml-1m", 50), "yelp": ("yelp", 50), "ml1m_long": ("ml-1m", 200)}


def load(case: str) -> PromptLengths:
    """The lengths of one of :data:`CASES`."""
    name, max_items = CASES[case]
    stored: dict[str, Any] = json.loads(STORED.read_text())[name]
    lengths = np.array([int(length) for length in stored["histogram"]], dtype=np.int64)
    users = np.array(list(stored["histogram"].values()), dtype=np.int64)
    return PromptLengths(stored["users"], stored["items"], np.repeat(lengths, users), max_items)


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
