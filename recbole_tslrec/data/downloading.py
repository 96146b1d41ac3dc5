"""A public dataset, fetched and imported."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from urllib.parse import urljoin, urlsplit
from zipfile import ZipFile

from recbole_tslrec.data.content import SourceError
from recbole_tslrec.data.importing import Imported, import_dataset
from recbole_tslrec.data.public_datasets import COMMAND, PUBLIC_DATASETS, PublicDataset, PublicFile, known_names
from recbole_tslrec.data.transfer import TransferError, fetch
from recbole_tslrec.store.files import beside
from recbole_tslrec.store.locks import locked

FOLDER = "downloads"  # below data_path: what was fetched stays here
UNPACKED_LIMIT = 4 << 30  # bytes of a file out of an archive; the largest that is read, of ml-32m, has 0.9e9


def public_dataset(name: str) -> PublicDataset:
    """The record of a public dataset.

    Raises:
        SourceError: there is none; says which there are.
    """
    if name not in PUBLIC_DATASETS:
        raise SourceError(f"[{name}] is not among the datasets whose address is known: {known_names()}")
    return PUBLIC_DATASETS[name]


def download_dataset(dataset: PublicDataset, data_path: Path, overwrite: bool = False, mirror: str = "") -> Imported:
    """Fetch a dataset's files into ``<data_path>/downloads`` and import them into ``<data_path>/<name>``.

    A file that is already in ``downloads``, from an earlier call or put there by hand, is checked and not fetched
    again. Two processes take turns.

    Args:
        dataset: which dataset.
        data_path: RecBole's ``data_path``.
        overwrite: whether to replace the folder of an existing dataset.
        mirror: another address of its first file or, with a slash at the end, of the folder of its files.

    Raises:
        SourceError: a file cannot be fetched or is not the published one; the message says what to do by hand. Or as
            in :func:`~recbole_tslrec.data.importing.import_dataset`.
    """
    if not dataset.files:
        raise SourceError(f"[{dataset.name}] is not for programs to fetch. {dataset.by_hand}")
    addresses = [_address(file, mirror, place) for place, file in enumerate(dataset.files)]
    folder = data_path / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / "lock"):
        for file, url in zip(dataset.files, addresses, strict=True):
            try:
                fetch(url, folder / file.name, file.digest)
            except TransferError as error:
                raise TransferError(f"{url} cannot be had: {error}. {_by_hand(dataset, data_path)}") from error
        with _unpacked(dataset, folder) as (source, items):
            return import_dataset(
                name=dataset.name,
                source=source,
                data_path=data_path,
                items=items,
                columns=dataset.columns,
                overwrite=overwrite,
            )


def _address(file: PublicFile, mirror: str, place: int) -> str:
    if not mirror:
        return file.url
    if urlsplit(mirror).scheme not in ("http", "https"):
        raise SourceError(f"--url [{mirror}] must begin with http:// or https://; `{COMMAND} import` reads a file")
    return mirror if place == 0 and not mirror.endswith("/") else urljoin(mirror, file.name)


def _by_hand(dataset: PublicDataset, data_path: Path) -> str:
    where = "" if data_path == Path("dataset") else f" --data_path={data_path}"
    them = "it" if len(dataset.files) == 1 else "them"
    unpack = f" unpack {them} and" if dataset.source not in [file.name for file in dataset.files] else ""
    return (
        f"Fetch {' and '.join(file.url for file in dataset.files)} by hand, put {them} into {data_path / FOLDER} and "
        f"run `{COMMAND} download {dataset.name}{where}` again, or{unpack} run `{dataset.import_command}{where}`"
    )


@contextmanager
def _unpacked(dataset: PublicDataset, folder: Path) -> Iterator[tuple[Path, Path | None]]:
    """The files of interactions and items, unpacked for as long as they are read."""
    unpacked = beside(folder / dataset.name, "unpacked")
    shutil.rmtree(unpacked, ignore_errors=True)
    unpacked.mkdir()
    try:
        source = _member(dataset, dataset.source, folder, unpacked)
        yield source, _member(dataset, dataset.items, folder, unpacked) if dataset.items else None
    finally:
        shutil.rmtree(unpacked)


def _member(dataset: PublicDataset, name: str, folder: Path, unpacked: Path) -> Path:
    """A fetched file, or one out of the fetched archive; nothing is written by a name that an archive gives."""
    if name in [file.name for file in dataset.files]:
        return folder / name
    path = unpacked / PurePosixPath(name).name
    archive_path = folder / dataset.files[0].name
    with ZipFile(archive_path) as archive:
        try:
            member = archive.getinfo(name)
        except KeyError:
            raise SourceError(f"{archive_path} holds no {name}; delete it and run the same command again") from None
        if member.file_size > UNPACKED_LIMIT:
            raise SourceError(
                f"{name} in {archive_path} has {member.file_size:,} bytes; no more than {UNPACKED_LIMIT:,} are unpacked"
            )
        with archive.open(member) as packed, path.open("wb") as file:
            shutil.copyfileobj(packed, file)
    return path
