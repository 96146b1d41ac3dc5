"""A public dataset is fetched once, unpacked no further than it is read, and imported; else it is said what to do."""

import gzip
import hashlib
import io
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from recbole_tslrec.data import downloading
from recbole_tslrec.data.content import SourceError
from recbole_tslrec.data.downloading import download_dataset, public_dataset
from recbole_tslrec.data.paper_counts import Counts
from recbole_tslrec.data.public_datasets import PUBLIC_DATASETS, PublicDataset, PublicFile

RATINGS = "".join(f"{user}::{item}::5::{100 + item}\n" for user in range(5) for item in range(5))
MOVIES = "".join(f"{item}::Movie {item}::Drama\n" for item in range(5))
COUNTS = Counts(users=5, items=5, interactions=25)


def zipped(members: dict[str, str]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return packed.getvalue()


ARCHIVE = zipped(
    {"toy/ratings.dat": RATINGS, "toy/movies.dat": MOVIES, "toy/users.dat": "not read", "../../escaped.txt": "evil"}
)
MD5 = f"md5:{hashlib.md5(ARCHIVE).hexdigest()}"


@pytest.fixture
def toy(web: Any) -> PublicDataset:
    """A dataset in an archive, as MovieLens' are."""
    web.files["toy.zip"] = ARCHIVE
    files = (PublicFile(f"{web.address}toy.zip", MD5),)
    return PublicDataset("toy", "for research", files, "toy/ratings.dat", "toy/movies.dat")


def tree(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_dataset_is_fetched_unpacked_and_imported(toy: PublicDataset, tmp_path: Path) -> None:
    assert download_dataset(toy, tmp_path / "data").counts == COUNTS
    assert tree(tmp_path) == [
        "data/downloads/lock",
        "data/downloads/toy.zip",
        "data/toy/toy.inter",
        "data/toy/toy.item",
    ]
    assert (tmp_path / "data/toy/toy.item").read_text().splitlines()[1] == "0\tMovie 0\tDrama"


def test_the_archive_is_kept_and_not_fetched_again(web: Any, toy: PublicDataset, tmp_path: Path) -> None:
    download_dataset(toy, tmp_path)
    assert download_dataset(toy, tmp_path, overwrite=True).counts == COUNTS
    assert len(web.asked) == 1


def test_an_archive_that_was_put_there_by_hand_serves(web: Any, toy: PublicDataset, tmp_path: Path) -> None:
    (tmp_path / "downloads").mkdir()
    (tmp_path / "downloads" / "toy.zip").write_bytes(ARCHIVE)
    assert download_dataset(toy, tmp_path).counts == COUNTS
    assert web.asked == []


def test_files_that_are_no_archives_are_read_where_they_are(web: Any, tmp_path: Path) -> None:
    web.files["toy.csv"] = b"who,what,when\na,x,2\na,y,1\n"
    dataset = PublicDataset(
        "toy",
        "free",
        (PublicFile(f"{web.address}toy.csv", f"md5:{hashlib.md5(web.files['toy.csv']).hexdigest()}"),),
        "toy.csv",
        columns=("who", "what", "when"),
    )
    assert download_dataset(dataset, tmp_path).counts == Counts(users=1, items=2, interactions=2)
    assert tree(tmp_path) == ["downloads/lock", "downloads/toy.csv", "toy/toy.inter"]


def test_without_the_file_it_is_said_what_to_do_by_hand(web: Any, toy: PublicDataset, tmp_path: Path) -> None:
    web.status["toy.zip"] = 403
    with pytest.raises(SourceError) as raised:
        download_dataset(toy, tmp_path)
    assert str(raised.value) == (
        f"{web.address}toy.zip cannot be had: the server answers 403 Forbidden. Fetch {web.address}toy.zip by hand, "
        f"put it into {tmp_path}/downloads and run `python -m recbole_tslrec data download toy --data_path={tmp_path}` "
        "again, or unpack it and run `python -m recbole_tslrec data import toy --source=toy/ratings.dat "
        f"--items=toy/movies.dat --data_path={tmp_path}`"
    )
    assert tree(tmp_path) == ["downloads/lock"]


def test_another_file_than_the_published_is_not_imported(web: Any, toy: PublicDataset, tmp_path: Path) -> None:
    web.files["toy.zip"] = zipped({"toy/ratings.dat": RATINGS, "toy/movies.dat": "0::Other::Drama\n"})
    with pytest.raises(SourceError, match=r"not \w+ as published; it was removed\. Fetch .*toy.zip by hand"):
        download_dataset(toy, tmp_path)
    assert tree(tmp_path) == ["downloads/lock"]


@pytest.mark.parametrize("mirror", ["mirror/toy.zip", "mirror/", "mirror/archive?of=toy"])
def test_a_mirror_is_a_file_or_a_folder_and_is_checked_too(
    web: Any, toy: PublicDataset, tmp_path: Path, mirror: str
) -> None:
    elsewhere = replace(toy, files=(PublicFile("https://files.invalid/toy.zip", MD5),))
    web.files["archive?of=toy"] = ARCHIVE
    assert download_dataset(elsewhere, tmp_path, mirror=f"{web.address}{mirror}").counts == COUNTS


def test_a_mirror_of_two_files_has_them_beside_each_other(web: Any, tmp_path: Path) -> None:
    web.files |= {"ratings.dat": RATINGS.encode(), "movies.dat": MOVIES.encode()}
    files = tuple(
        PublicFile(f"https://files.invalid/{name}", f"md5:{hashlib.md5(content).hexdigest()}")
        for name, content in web.files.items()
    )
    dataset = PublicDataset("toy", "free", files, "ratings.dat", "movies.dat")
    assert download_dataset(dataset, tmp_path, mirror=f"{web.address}ratings.dat").counts == COUNTS
    assert [name for name, _ in web.asked] == ["ratings.dat", "movies.dat"]


def test_a_mirror_is_an_address(toy: PublicDataset, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"--url \[/etc/passwd\] must begin with http"):
        download_dataset(toy, tmp_path, mirror="/etc/passwd")


def test_an_archive_of_other_files_is_named(web: Any, toy: PublicDataset, tmp_path: Path) -> None:
    web.files["toy.zip"] = zipped({"else": ""})
    unchecked = replace(toy, files=(PublicFile(f"{web.address}toy.zip"),))
    with pytest.raises(SourceError, match=r"toy\.zip holds no toy/ratings\.dat"):
        download_dataset(unchecked, tmp_path)
    assert tree(tmp_path) == ["downloads/lock", "downloads/toy.zip"]


def test_what_unpacks_to_more_than_the_limit_is_not_unpacked(
    toy: PublicDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloading, "UNPACKED_LIMIT", len(RATINGS) - 1)
    with pytest.raises(SourceError, match=r"toy/ratings\.dat in .* has 325 bytes; no more than 324 are unpacked"):
        download_dataset(toy, tmp_path)


def test_what_is_for_persons_only_says_where_they_go(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"business\.yelp\.com.*data import yelp-reviews --source="):
        download_dataset(public_dataset("yelp"), tmp_path)
    assert tree(tmp_path) == []


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(SourceError, match=r"\[ml-2m\].*ml-1m.*beauty.*amazon-2023-\.\.\. \(all-beauty"):
        public_dataset("ml-2m")


# a few lines of the form in which each family is published
PUBLISHED = {
    "ml-100k": {"ml-100k/u.data": "1\t10\t3\t881250949\n1\t11\t3\t881250950\n2\t10\t1\t878887116\n"},
    "ml-20m": {
        "ml-20m/ratings.csv": "userId,movieId,rating,timestamp\n1,10,3.5,1112486027\n2,11,5.0,1112484676\n",
        "ml-20m/movies.csv": 'movieId,title,genres\n10,"Fly, The (1986)",Drama|Horror\n11,Heat (1995),Crime\n',
    },
    "ml-10m": {
        "ml-10M100K/ratings.dat": RATINGS,
        "ml-10M100K/movies.dat": MOVIES,
    },
    "amazon-2014-baby": {
        "reviews_Baby_5.json.gz": "".join(
            f'{{"reviewerID": "A{user}", "asin": "B{item}", "overall": 5.0, "unixReviewTime": {item}}}\n'
            for user in range(5)
            for item in range(5)
        ),
        "meta_Baby.json.gz": "{'asin': 'B0', 'title': \"Baby's\", 'categories': [['Baby', 'Toys']]}\n",
    },
    "amazon-2023-all-beauty": {
        "All_Beauty.csv.gz": "user_id,parent_asin,rating,timestamp\nA,B1,5.0,1588687728923\nA,B2,4.0,1588687728924\n"
    },
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_each_family_is_imported_as_it_is_published(web: Any, tmp_path: Path, name: str) -> None:
    dataset, members = PUBLIC_DATASETS[name], PUBLISHED[name]
    if dataset.files[0].name.endswith(".zip"):
        web.files[dataset.files[0].name] = zipped(members)
    else:
        web.files = {file: gzip.compress(text.encode()) for file, text in members.items()}
    assert set(members) == {dataset.source, dataset.items} - {""}
    unhashed = replace(dataset, files=tuple(PublicFile(file.url) for file in dataset.files))
    counts = download_dataset(unhashed, tmp_path, mirror=web.address).counts
    written = (tmp_path / name / f"{name}.inter").read_text().splitlines()
    has_header = bool(dataset.columns) and not dataset.columns[0].isdigit()
    assert len(written) - 1 == counts.interactions == members[dataset.source].count("\n") - has_header
