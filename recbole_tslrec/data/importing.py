"""From a source to RecBole's atomic files, checked against Table 1 before anything is written."""

import shutil
from collections.abc import Sequence
from dataclasses import asdict
from logging import getLogger
from pathlib import Path

import pandas as pd

from recbole_tslrec.data.content import SourceError
from recbole_tslrec.data.item_information import read_items
from recbole_tslrec.data.paper_counts import Counts, difference
from recbole_tslrec.data.sources import FORMATS, read_source
from recbole_tslrec.store.files import beside, replace_folder

CORE = 5  # interactions that a user and an item must have, where the source is raw


def import_dataset(
    name: str,
    source: Path,
    data_path: Path = Path("dataset"),
    form: str | None = None,
    items: Path | None = None,
    columns: Sequence[str] = (),
    overwrite: bool = False,
    allow_difference: bool = False,
) -> Counts:
    """Write ``<data_path>/<name>/<name>.inter``, and ``.item`` where there is a file of items.

    Users keep the order in which the source first names them, and their interactions are in time order; ties keep the
    order of the source. Repeated interactions are kept. A raw source (MovieLens, Amazon) is cut to its 5-core;
    tokens are the source's own.

    Args:
        name: the name of the dataset.
        source: a file of one of :data:`~recbole_tslrec.data.sources.FORMATS`.
        data_path: RecBole's.
        form: the source's format; ``None`` recognises it from the content.
        items: see :func:`~recbole_tslrec.data.item_information.read_items`; ``None`` takes a ``movies.dat`` beside
            MovieLens' ratings.
        columns: see :func:`~recbole_tslrec.data.sources.read_source`.
        overwrite: whether to replace the folder of an existing dataset, as a whole.
        allow_difference: whether to write a dataset of Table 1 with other counts than the paper's.

    Raises:
        SourceError: the folder exists; a file cannot be read; the counts differ from the paper's. Nothing is written.
    """
    if name in ("", "..") or Path(name).name != name:
        raise SourceError(f"dataset name [{name}] must be the name of a folder")
    folder = data_path / name
    _check_folder(folder, [source, *([items] if items else [])], overwrite)
    form, frame = read_source(source, form, columns)
    if FORMATS[form].is_raw:
        frame = five_core(frame)
    if frame.empty:
        raise SourceError(f"{source} has no {CORE}-core: no users and items with {CORE} interactions among themselves")
    counts = Counts(frame["user"].nunique(), frame["item"].nunique(), len(frame))
    _check_counts(name, counts, source, allow_difference)
    beside_ratings = source.with_name("movies.dat")
    if items is None and form == "movielens" and beside_ratings.is_file():
        items = beside_ratings
    table = read_items(items, frame["item"].unique()) if items else None
    _write(folder, in_order(frame), table)
    getLogger().info(f"{folder}: {form} from {source}, {counts}")
    return counts


def five_core(frame: pd.DataFrame) -> pd.DataFrame:
    """Leave out users and items with fewer than five interactions, again and again until none is left.

    Args:
        frame: with ``user`` and ``item``.
    """
    while True:
        counts = [frame.groupby(column)[column].transform("size") for column in ("user", "item")]
        kept = frame[(counts[0] >= CORE) & (counts[1] >= CORE)]
        if len(kept) == len(frame):
            return kept
        frame = kept


def in_order(frame: pd.DataFrame) -> pd.DataFrame:
    """Users in the order of the file, and each one's interactions by time; ties keep the order of the file.

    Args:
        frame: with ``user``, ``item`` and ``time``.
    """
    place = pd.factorize(frame["user"])[0]
    return frame.assign(place=place).sort_values(["place", "time"], kind="stable").drop(columns="place")


def _check_folder(folder: Path, sources: Sequence[Path], overwrite: bool) -> None:
    if not folder.exists():
        return
    inside = [source for source in sources if folder.resolve() in source.resolve().parents]
    if inside:
        raise SourceError(f"{inside[0]} lies in {folder}, which is written as a whole; move it out first")
    if not overwrite:
        raise SourceError(f"{folder} exists; --overwrite replaces it as a whole, or give another --data_path")


def _check_counts(name: str, counts: Counts, source: Path, allow_difference: bool) -> None:
    differing = difference(name, counts)
    if differing is None or not any(differing.values()) or allow_difference:
        return
    found = asdict(counts)
    parts = [f"{found[what]:,} {what} (paper {found[what] - by:,}: {by:+,})" for what, by in differing.items()]
    raise SourceError(
        f"{source} is not the [{name}] of the paper's Table 1: {', '.join(parts)}. Nothing was written; check the "
        "source, give it another name, or write it as it is with --allow_difference"
    )


def _write(folder: Path, frame: pd.DataFrame, items: pd.DataFrame | None) -> None:
    """Write the atomic files into a folder of another name, read them as RecBole will, and put it into place."""
    partial = beside(folder, "partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    path = partial / f"{folder.name}.inter"
    frame = frame.set_axis(["user_id:token", "item_id:token", "timestamp:float"], axis=1)
    frame.to_csv(path, sep="\t", index=False)
    read = pd.read_csv(path, sep="\t", dtype={"user_id:token": str, "item_id:token": str})
    for column in ("user_id:token", "item_id:token"):
        changed = frame[column][(read[column].to_numpy() != frame[column].to_numpy())]
        if len(changed):
            shutil.rmtree(partial)
            raise SourceError(f"RecBole would not read the {column} {changed.iloc[0]!r} as it is; rename it")
    if items is not None:
        items.to_csv(partial / f"{folder.name}.item", sep="\t", index=False)
    replace_folder(partial, folder)
