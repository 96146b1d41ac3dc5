"""``python -m recbole_tslrec data download|import|stats``."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tabulate import tabulate

from recbole_tslrec.configuration.config import Config
from recbole_tslrec.data.content import SourceError
from recbole_tslrec.data.downloading import FOLDER, download_dataset, public_dataset
from recbole_tslrec.data.importing import import_dataset
from recbole_tslrec.data.paper_counts import TABLE1, Counts
from recbole_tslrec.data.public_datasets import known_names
from recbole_tslrec.data.sources import FORMATS
from recbole_tslrec.data.statistics import statistics

_OF_RECBOLE = "ml-100k"


def main(argv: Sequence[str]) -> None:
    """Download or import a dataset, or describe one.

    Raises:
        SourceError: the source is missing, malformed or not the paper's dataset; nothing is written then.
        ValueError: there is no such dataset, or a key is wrong (``DatasetError``, ``ConfigError``).
        ImportError: ``stats --output_dir`` without matplotlib.
    """
    parser = argparse.ArgumentParser(prog="python -m recbole_tslrec data", allow_abbrev=False)
    commands = parser.add_subparsers(required=True, metavar="download|import|stats")
    _add_download(commands)
    _add_import(commands)
    _add_stats(commands)
    given, keys = parser.parse_known_args(list(argv))
    if keys and given.run is not _stats:
        parser.error(f"unknown arguments: {' '.join(keys)}")
    given.run(given, keys)


def _add_download(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "download",
        help="fetch a public dataset and import it",
        description=f"Known datasets: {known_names()}. Downloads are kept in <data_path>/{FOLDER}.",
        allow_abbrev=False,
    )
    parser.set_defaults(run=_download)
    _add_destination(parser)
    parser.add_argument(
        "--url", default="", help="URL of a mirror: that of the file, or, with a slash at the end, of its folder"
    )


def _add_destination(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", help="name of the dataset, such as ml-1m")
    parser.add_argument(
        "--data_path", type=Path, default=Path("dataset"), help="folder to put it in (default: dataset)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an existing dataset's folder")


def _download(given: argparse.Namespace, _: Sequence[str]) -> None:
    dataset = public_dataset(given.name)
    folder = given.data_path / dataset.name
    if folder.exists() and not given.overwrite:
        sys.stdout.write(f"{folder} exists; nothing was done. --overwrite replaces it as a whole\n")
        return
    sys.stdout.write(f"{dataset.terms}\n")
    sys.stdout.flush()  # before the transfer, also where it is piped
    imported = download_dataset(dataset, given.data_path, given.overwrite, given.url)
    counts = imported.counts
    against = ""
    if dataset.counts:
        against = ", as published" if counts == dataset.counts else f"; published are {_sizes(dataset.counts)}"
    note = f"{dataset.note}\n" if dataset.note else ""
    sys.stdout.write(f"{imported.account()}\n{folder}: {_sizes(counts)}{against}\n{note}")


def _sizes(counts: Counts) -> str:
    return f"{counts.users:,} users, {counts.items:,} items, {counts.interactions:,} interactions"


def _add_import(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "import",
        help="write RecBole's atomic files from a file of interactions",
        description=f"The counts of {', '.join(TABLE1)} are checked against Table 1. See dataset/README.md.",
        allow_abbrev=False,
    )
    parser.set_defaults(run=_import)
    parser.add_argument(
        "--source",
        required=True,
        type=Path,
        help="the file: text, compressed or not, parquet or feather; or a folder of parquet",
    )
    parser.add_argument("--format", choices=FORMATS, help="format of the source (default: recognised from its content)")
    parser.add_argument(
        "--columns",
        default="",
        help="columns user,item,time or user,item, in parquet also lists with one row per user: names, or numbers from "
        "0 (default: recognised by their names)",
    )
    parser.add_argument(
        "--items",
        "--attributes",
        type=Path,
        help="file about the items: movies.dat, Amazon's metadata, S3-Rec's attributes, or a table",
    )
    _add_destination(parser)
    parser.add_argument(
        "--allow_difference", action="store_true", help="write the dataset even if its counts differ from the paper's"
    )


def _import(given: argparse.Namespace, _: Sequence[str]) -> None:
    if given.name == _OF_RECBOLE:
        raise SourceError(f"dataset name [{given.name}] always means RecBole's own copy; choose another")
    imported = import_dataset(
        given.name,
        given.source,
        given.data_path,
        given.format,
        given.items,
        [column.strip() for column in given.columns.split(",") if column.strip()],
        given.overwrite,
        given.allow_difference,
    )
    as_paper = ", as in the paper's Table 1" if imported.counts == TABLE1.get(given.name) else ""
    sys.stdout.write(f"{imported.account()}\n{given.data_path / given.name}: {_sizes(imported.counts)}{as_paper}\n")


def _add_stats(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "stats",
        help="describe a dataset as RecBole loads it",
        description="Every other --key=value is a configuration key, such as --data_path or a filter.",
        allow_abbrev=False,
    )
    parser.set_defaults(run=_stats)
    parser.add_argument("--dataset", required=True, help="a folder of data_path")
    parser.add_argument("--output_dir", help="where to write the table, JSON and plots")


def _stats(given: argparse.Namespace, keys: Sequence[str]) -> None:
    # times as they are, not from 0 to 1 as RecBole's ml-100k asks for; their order is the same
    found = statistics(Config("SASRec", given.dataset, argv=["--normalize_all=False", *keys]))
    rows = [
        (what, value if isinstance(value, str) else f"{value:,.6g}" if isinstance(value, float) else f"{value:,}")
        for what, value in found.figures().items()
    ]
    sys.stdout.write(f"{found.name}\n{tabulate(rows, colalign=('left', 'right'), disable_numparse=True)}\n")
    if given.output_dir:
        from recbole_tslrec.report.statistics_page import page  # here, since an import needs none of the reports
        from recbole_tslrec.report.writing import write_page

        sys.stdout.write(f"{write_page(page(found, keys), given.output_dir)}\n")
