"""The results of a model user by user, as parquet: what tests of significance and figures by user group are made of."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from recbole_tslrec.store.artifacts import ArtifactError
from recbole_tslrec.store.files import beside

_METADATA = b"recbole_tslrec"
_SAME = ("dataset", "fingerprint", "part", "items")  # of the results in one table


@dataclass(frozen=True)
class UserResults:
    """A model's results on the validation or the test items.

    Attributes:
        frame: a row for each held-out item, which is one per user with leave-one-out. Columns: ``user_id`` and
            ``item_id`` (external tokens; the item is the target), ``rank_unmasked``, ``rank_keep_target`` and
            ``rank_strict`` (int64, from 1; strict: items + 1 where the target is masked itself, or behind the longest
            list), ``sequence_length`` (int64, the user's training interactions), ``target_popularity`` (int64, the
            target's training interactions), ``repeat`` (bool, the target is in the history), and each metric in each
            mode, such as ``ndcg@10_unmasked`` (float32).
        about: ``dataset``, ``fingerprint``, ``model``, ``row``, ``seed``, ``part``, ``topk``, ``items`` (how many).
    """

    frame: pd.DataFrame
    about: dict[str, Any]

    @property
    def modes(self) -> tuple[str, ...]:
        """The history modes that the frame has ranks of."""
        return tuple(name.removeprefix("rank_") for name in self.frame.columns if name.startswith("rank_"))

    def __str__(self) -> str:
        about = self.about
        return f"{about['row']} of {about['model']} on {about['dataset']}, seed {about['seed']}, {about['part']}"


def means_of_users(values: ArrayLike, users: ArrayLike) -> NDArray[np.float64]:
    """The mean of each user's rows, [R] -> [U], users in the order of their first row; with one row each, the values.

    Rows of one user are not independent: tests and intervals are over users.

    Args:
        values: a metric of each row.
        users: whose row it is.
    """
    rows = pd.Series(np.asarray(values, np.float64))
    means: NDArray[np.float64] = rows.groupby(np.asarray(users), sort=False).mean().to_numpy()
    return means


def shares_of_users(values: ArrayLike, users: ArrayLike) -> NDArray[np.float64]:
    """What each user's rows contribute to the mean over all rows, [R] -> [U], as values with that same mean.

    A user's value is the mean, plus U / R times the sum of how far the user's rows are from it. So where users have
    unlike numbers of rows, an interval of these values is that of the mean over rows if users are drawn (the ratio
    estimator, linearised).

    Args:
        values: a metric of each row.
        users: whose row it is.
    """
    rows = pd.Series(np.asarray(values, np.float64))
    mean = rows.mean()
    sums: NDArray[np.float64] = (rows - mean).groupby(np.asarray(users), sort=False).sum().to_numpy()
    shares: NDArray[np.float64] = mean + sums * len(sums) / len(rows)
    return shares


def write_users(path: Path, results: UserResults) -> None:
    """Write the results under another name and rename the file; ``about`` goes into its metadata as JSON."""
    import pyarrow
    from pyarrow import parquet

    table = pyarrow.Table.from_pandas(results.frame, preserve_index=False)
    metadata = {**(table.schema.metadata or {}), _METADATA: json.dumps(results.about, ensure_ascii=False)}
    temporary = beside(path, "tmp")
    parquet.write_table(table.replace_schema_metadata(metadata), temporary, compression="zstd")
    os.replace(temporary, path)


def read_users(path: str | Path) -> UserResults:
    """Read what :func:`write_users` wrote.

    Raises:
        ArtifactError: there is no such file, or it holds no results by user.
    """
    import pyarrow
    from pyarrow import parquet

    path = Path(path)
    if not path.is_file():
        raise ArtifactError(
            f"{path.parent} has no results by user: {path.name} is missing; evaluate again with --rebuild=evaluation"
        )
    try:
        table = parquet.read_table(path)
        about = json.loads(table.schema.metadata[_METADATA])
    except (pyarrow.ArrowException, KeyError, TypeError, ValueError) as error:
        raise ArtifactError(
            f"{path} holds no results by user ({error}); evaluate again with --rebuild=evaluation"
        ) from error
    return UserResults(table.to_pandas(), about)


def check_comparable(results: Sequence[UserResults]) -> None:
    """Refuse results that must not stand in one table.

    Raises:
        ValueError: two of them differ in data, part, history modes or users; names both and the difference.
    """
    for other in results[1:]:
        difference = _difference(results[0], other)
        if difference:
            raise ValueError(
                f"[{results[0]}] and [{other}] cannot stand in one table: {difference}; "
                "evaluate both on the same data with the same settings"
            )


def _difference(one: UserResults, other: UserResults) -> str | None:
    for key in _SAME:
        if one.about[key] != other.about[key]:
            return f"{key} is [{one.about[key]}] and [{other.about[key]}]"
    if one.modes != other.modes:
        return f"their history modes are [{', '.join(one.modes)}] and [{', '.join(other.modes)}]"
    for column in ("user_id", "item_id"):
        if not one.frame[column].equals(other.frame[column]):
            return f"the {column} of their rows differ ({len(one.frame)} and {len(other.frame)} rows)"
    return None
