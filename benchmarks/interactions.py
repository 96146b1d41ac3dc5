"""RecBole's atomic files for the benchmarks: the given ones, or random ones of the same size."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import lengths
from recbole_tslrec.sft.prompt_lengths import sample

SEED = 2020


def walk(
    length: NDArray[np.int64], items: int, steps: Sequence[int], jumps: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Users who walk through the items with small steps, and jump at times: something that a model can learn.

    Args:
        length: interactions of each user, [users].
        items: N. With at least as many users every item occurs.
        steps: how far a user goes from one item to the next, each as likely.
        jumps: share of the interactions that go anywhere.

    Returns:
        User and item of each interaction in order of time, int64 [interactions] each.
    """
    random = np.random.default_rng(SEED)
    start = random.permutation(np.arange(max(len(length), items)) % items)[: len(length)]
    user = np.repeat(np.arange(len(length)), length)
    first = np.cumsum(length) - length
    step = random.choice(np.asarray(steps), len(user))
    jump = random.random(len(user)) < jumps
    step[jump] = random.integers(items, size=int(jump.sum()))
    step[first] = start
    gone = np.cumsum(step)  # over all users; what stood before a user's own start is taken off
    before = np.repeat(gone[first] - start, length)
    return user, (gone - before) % items


def write(folder: Path, name: str, user: NDArray[np.int64], item: NDArray[np.int64], items: int | None = None) -> None:
    """Write ``folder/name/name.inter`` with the place among all interactions as time, and the items if asked.

    Args:
        folder: RecBole's ``data_path``.
        name: of the dataset.
        user: [interactions].
        item: [interactions].
        items: N, for a ``.item`` file that names those without an interaction too.
    """
    home = folder / name
    home.mkdir(parents=True, exist_ok=True)
    pairs = zip(user.tolist(), item.tolist(), strict=True)
    rows = [f"u{one}\ti{other}\t{time}" for time, (one, other) in enumerate(pairs)]
    header = "user_id:token\titem_id:token\ttimestamp:float"
    (home / f"{name}.inter").write_text("\n".join([header, *rows]) + "\n")
    if items is not None:
        names = "\n".join(f"i{number}" for number in range(items))
        (home / f"{name}.item").write_text(f"item_id:token\n{names}\n")


def write_walks(folder: Path, name: str, users: int, items: int, mean_length: int) -> None:
    """Write walks with as many jumps as steps, their interactions in no order.

    Args:
        folder: RecBole's ``data_path``.
        name: of the dataset.
        users: M, with 5 interactions each at least.
        items: N.
        mean_length: interactions of a user on average.
    """
    user, item = walk(np.resize(np.arange(5, 2 * mean_length - 4), users), items, steps=(1, 2, 3), jumps=0.5)
    order = np.random.default_rng(SEED).permutation(len(user))
    write(folder, name, user[order], item[order])


def item_tokens(folder: Path, name: str) -> list[str]:
    """The tokens in the item column of ``folder/name/name.inter``, each once."""
    _, *rows = (folder / name / f"{name}.inter").read_text().splitlines()
    return list(dict.fromkeys(row.split("\t", 2)[1] for row in rows))


def provide(folder: Path, case: str, share: float = 1.0, given: Path | None = None) -> str:
    """Put the dataset of a case into a folder.

    Args:
        folder: RecBole's ``data_path``.
        case: of :data:`lengths.CASES`.
        share: of the users, and without given files of the items too.
        given: a folder that holds ``beauty/beauty.inter`` and ``ml-1m/ml-1m.inter``; without it users walk at random,
            with the dataset's numbers of users and items and its lengths of histories.

    Returns:
        What the data is, for the report.
    """
    name = lengths.CASES[case][0]
    part = "" if share == 1 else f", {share:.0%} of its users"
    if given is None:
        data = lengths.load(case)
        length = data.history + lengths.HELD_OUT
        if share < 1:
            length = sample(length, round(share * data.users))
        user, item = walk(length, round(share * data.items), (1, 2, 3), jumps=0.2)
        write(folder, name, user, item)
        return f"random walks as many and as long as the histories of {name}{part}"
    (folder / name).mkdir(parents=True, exist_ok=True)
    count = keep_users(given_file(given, case), folder / name / f"{name}.inter", share)
    return f"the given {name}.inter with {count:,} interactions{part}"


def given_file(given: Path, case: str) -> Path:
    """The file of a case below ``given``.

    Raises:
        FileNotFoundError: it is not there.
    """
    name = lengths.CASES[case][0]
    file = given / name / f"{name}.inter"
    if not file.is_file():
        raise FileNotFoundError(f"--data_path has no {file}; leave it out to measure random data of the same size")
    return file


def keep_users(source: Path, target: Path, share: float) -> int:
    """Copy an ``.inter`` file with a share of its users, taken evenly; gives the number of interactions.

    The first column is the user.
    """
    header, *rows = source.read_text().splitlines()
    users = list(dict.fromkeys(row.split("\t", 1)[0] for row in rows))
    kept = {users[int(number / share)] for number in range(round(share * len(users)))}
    rows = [row for row in rows if row.split("\t", 1)[0] in kept]
    target.write_text("\n".join([header, *rows]) + "\n")
    return len(rows)
