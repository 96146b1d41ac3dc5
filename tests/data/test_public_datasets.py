"""Each public dataset says whose it is and how it is had; the hint names commands that exist."""

import re

import pytest

from recbole_tslrec.data.paper_counts import TABLE1
from recbole_tslrec.data.public_datasets import PUBLIC_DATASETS, download_hint


def test_hint_of_a_known_dataset_names_both_commands() -> None:
    assert download_hint("ml-1m") == (
        "get it with `python -m recbole_tslrec data download ml-1m`, or import a file of your own with "
        "`python -m recbole_tslrec data import ml-1m --source=FILE`"
    )


def test_hint_of_an_unknown_dataset_names_the_import_alone() -> None:
    assert download_hint("shop") == (
        "import a file of interactions with `python -m recbole_tslrec data import shop --source=FILE`"
    )


def test_hint_keeps_to_another_data_path() -> None:
    assert download_hint("ml-1m", "data").count(" --data_path=data`") == 2
    assert download_hint("ml-1m", "dataset/") == download_hint("ml-1m")


@pytest.mark.parametrize("dataset", PUBLIC_DATASETS.values(), ids=list(PUBLIC_DATASETS))
def test_each_record_is_whole(dataset: object) -> None:
    """There is something to fetch or something to do by hand; a hash has its length; what is read is fetched."""
    assert dataset.terms
    assert bool(dataset.files) != bool(dataset.by_hand)
    for file in dataset.files:
        assert file.url.startswith("https://")
        assert re.fullmatch(r"|md5:[0-9a-f]{32}|sha256:[0-9a-f]{64}", file.digest)
    if dataset.files and not dataset.files[0].name.endswith(".zip"):
        assert {dataset.source, dataset.items} - {""} == {file.name for file in dataset.files}


def test_the_papers_datasets_go_by_the_papers_names() -> None:
    """The importer compares a dataset with Table 1 by its name."""
    assert set(TABLE1) <= set(PUBLIC_DATASETS)
