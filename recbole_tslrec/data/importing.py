"""From a source to RecBole's atomic files, checked against Table 1 before anything is written."""

import csv
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from logging import getLogger
from pathlib import Path

import numpy as np
import pandas as pd

from recbole_tslrec.data.columns import ROLES
from recbole_tslrec.data.content import SourceError
from recbole_tslrec.data.item_information import read_items
from recbole_tslrec.data.paper_counts import Counts, difference
from recbole_tslrec.data.sources import FORMATS, Source, read_source
from recbole_tslrec.store.files import beside, replace_folder

CORE = 5  # interactions that a user and an item must have, where the source is raw


@dataclass(frozen=True)
class Imported:
    """What an import did with a source.

    Attributes:
        counts: the counts of the dataset that was written.
        source: what was read, and how.
        dropped: how many interactions were left out, by the reason.
        difference: the difference from the counts of the paper's Table 1; empty if there is none.
    """

    counts: Counts
    source: Source
    dropped: dict[str, int]
    difference: str

    def account(self) -> str:
        """Where each line of the source is, one line a subject."""
        unit, read = self.source.unit, len(self.source.frame)
        other = ", ".join(f"{count:,} {what}" for what, count in self.source.other_lines.items())
        lines = f"{self.source.lines:,} {unit}s{f' ({other})' if other else ''}"
        dropped = "".join(f", {count:,} dropped by {why}" for why, count in self.dropped.items())
        columns = ", ".join(
            f"{name} as {role}" for name, role in zip(self.source.columns, ROLES, strict=False) if name != role
        )
        return "\n".join(
            [
                f"read as {self.source.form}{f', {columns}' if columns else ''}: {lines}",
                f"{read:,} interactions read, {self.counts.interactions:,} kept{dropped}",
                *self.source.changes,
                *([f"not the dataset of the paper's Table 1: {self.difference}"] if self.difference else []),
            ]
        )


def import_dataset(
    name: str,
    source: str | Path,
    data_path: str | Path = "dataset",
    form: str | None = None,
    items: str | Path | None = None,
    columns: str | Sequence[str] = (),
    overwrite: bool = False,
    allow_difference: bool = False,
) -> Imported:
    """Write ``<data_path>/<name>/<name>.inter``, and ``.item`` if there is a file of items.

    Users keep the order in which the source first names them, and their interactions are in time order; ties keep the
    order of the source. Repeated interactions are kept. A raw source (MovieLens, Amazon) is reduced to its 5-core;
    tokens are those of the source.

    Args:
        name: the name of the dataset.
        source: a file, or a folder of parquet, of one of :data:`~recbole_tslrec.data.sources.FORMATS`.
        data_path: RecBole's ``data_path``.
        form: the source's format; ``None`` recognises it from the content.
        items: see :func:`~recbole_tslrec.data.item_information.read_items`; ``None`` takes a ``movies.dat`` beside
            MovieLens' ratings.
        columns: see :func:`~recbole_tslrec.data.sources.read_source`.
        overwrite: whether to replace the folder of an existing dataset, as a whole.
        allow_difference: whether to write a dataset of Table 1 even if its counts differ from the paper's.

    Raises:
        SourceError: the folder exists; a file cannot be read; or the counts differ from the paper's and ``columns``
            were not given. Nothing is written.
    """
    if name in ("", "..") or Path(name).name != name:
        raise SourceError(f"dataset name [{name}] must be the name of a folder")
    source, data_path, items = Path(source), Path(data_path), items and Path(items)
    columns = [column.strip() for column in columns.split(",")] if isinstance(columns, str) else columns
    folder = data_path / name
    _check_folder(folder, [source, *([items] if items else [])], overwrite)
    read = read_source(source, form, columns)
    frame = five_core(read.frame) if FORMATS[read.form].is_raw else read.frame
    if frame.empty:
        raise SourceError(
            f"{source} has no {CORE}-core: none of its {len(read.frame):,} interactions is of a user and an item with "
            f"{CORE} each"
        )
    dropped = {f"the {CORE}-core ({CORE} interactions a user and an item)": len(read.frame) - len(frame)}
    counts = Counts(frame["user"].nunique(), frame["item"].nunique(), len(frame))
    differing = _difference(name, counts)
    if differing and not (columns or allow_difference):
        raise SourceError(
            f"{source} is not the [{name}] of the paper's Table 1: {differing}. Nothing was written; check the source, "
            "give it another name, or write it as it is with --allow_difference"
        )
    beside_ratings = source.with_name("movies.dat")
    if items is None and read.form == "movielens" and beside_ratings.is_file():
        items = beside_ratings
    table = read_items(items, frame["item"].unique(), read.columns[1]) if items else None
    _write(folder, in_order(frame), table)
    imported = Imported(counts, read, {why: count for why, count in dropped.items() if count}, differing)
    getLogger().info(f"{folder}: {imported.account()}")
    return imported


def five_core(frame: pd.DataFrame) -> pd.DataFrame:
    """Leave out users and items with fewer than five interactions, again and again until none is left.

    Args:
        frame: with ``user`` and ``item``.
    """
    codes = [pd.factorize(frame[column])[0] for column in ("user", "item")]
    kept = np.ones(len(frame), dtype=bool)
    while True:
        enough = [(np.bincount(code[kept], minlength=len(frame)) >= CORE)[code] for code in codes]
        fewer = kept & enough[0] & enough[1]
        if fewer.sum() == kept.sum():
            return frame[kept]
        kept = fewer


def in_order(frame: pd.DataFrame) -> pd.DataFrame:
    """Users in the order of the file, and each one's interactions by time; ties keep the order of the file.

    Args:
        frame: with ``user``, ``item`` and ``time``.
    """
    place = pd.factorize(frame["user"])[0]
    return frame.iloc[np.lexsort((frame["time"], place))]


def _check_folder(folder: Path, sources: Sequence[Path], overwrite: bool) -> None:
    if not folder.exists():
        return
    inside = [source for source in sources if folder.resolve() in (source.resolve(), *source.resolve().parents)]
    if inside:
        raise SourceError(f"{inside[0]} lies in {folder}, which is written as a whole; move it out first")
    if not overwrite:
        raise SourceError(f"{folder} exists; --overwrite replaces it as a whole, or give another --data_path")


def _difference(name: str, counts: Counts) -> str:
    """How the counts differ from those of the paper's Table 1; empty where they do not, or it has no such dataset."""
    differing = difference(name, counts) or {}
    if not any(differing.values()):
        return ""
    found = asdict(counts)
    return ", ".join(f"{found[what]:,} {what} (paper {found[what] - by:,}: {by:+,})" for what, by in differing.items())


def _write(folder: Path, frame: pd.DataFrame, items: pd.DataFrame | None) -> None:
    """Write the atomic files into a folder of another name, read them as RecBole will, and put it into place."""
    partial = beside(folder, "partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    path = partial / f"{folder.name}.inter"
    frame = frame.set_axis(["user_id:token", "item_id:token", "timestamp:float"], axis=1)
    frame.to_csv(path, sep="\t", index=False, quoting=csv.QUOTE_NONE)
    read = pd.read_csv(path, sep="\t", dtype={"user_id:token": str, "item_id:token": str})
    for column in ("user_id:token", "item_id:token"):
        found, written = read[column].to_numpy(), frame[column].to_numpy()
        if not np.array_equal(found, written):
            shutil.rmtree(partial)
            first = next(token for token, again in zip(written, [*found, None], strict=False) if token != again)
            raise SourceError(f"RecBole would not read the {column} {first!r} as it is; rename it")
    if items is not None:
        items.to_csv(partial / f"{folder.name}.item", sep="\t", index=False, quoting=csv.QUOTE_NONE)
    replace_folder(partial, folder)
