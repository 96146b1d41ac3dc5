"""Public datasets: where each lies, what its owners ask for, and how it is imported."""

from dataclasses import dataclass

from recbole_tslrec.data.paper_counts import TABLE1, Counts

COMMAND = "python -m recbole_tslrec data"


@dataclass(frozen=True)
class PublicFile:
    """A file that its owners publish.

    Attributes:
        url: its address.
        digest: ``md5:`` or ``sha256:`` and the hash in hexadecimal digits; empty where none is published.
    """

    url: str
    digest: str = ""

    @property
    def name(self) -> str:
        """The last part of the address."""
        return self.url.rpartition("/")[2]


@dataclass(frozen=True)
class PublicDataset:
    """A dataset that its owners publish.

    Attributes:
        name: of the dataset, here and below ``data_path``.
        terms: where it comes from and what its owners ask for, in a line or two.
        files: what is fetched; none where its owners give it only to a person who agrees to their terms.
        source: the interactions: the name of a file, or of a member of the archive.
        items: the words about items, likewise; empty where there are none.
        columns: see :func:`~recbole_tslrec.data.sources.read_source`.
        counts: of the imported dataset, where they are published.
        by_hand: what a person does where there is nothing to fetch.
        note: what else to know of it.
    """

    name: str
    terms: str
    files: tuple[PublicFile, ...] = ()
    source: str = ""
    items: str = ""
    columns: tuple[str, ...] = ()
    counts: Counts | None = None
    by_hand: str = ""
    note: str = ""

    @property
    def import_command(self) -> str:
        """What imports the files from the working folder."""
        items = f" --items={self.items}" if self.items else ""
        columns = f" --columns={','.join(self.columns)}" if self.columns else ""
        return f"{COMMAND} import {self.name} --source={self.source}{items}{columns}"


def download_hint(name: str, data_path: str = "dataset") -> str:
    """How to get a dataset that is not there: a clause with the commands.

    Args:
        name: the name of the dataset.
        data_path: RecBole's.
    """
    where = "" if data_path.rstrip("/") == "dataset" else f" --data_path={data_path}"
    from_file = f"`{COMMAND} import {name} --source=FILE{where}`"
    if name in PUBLIC_DATASETS:
        return f"get it with `{COMMAND} download {name}{where}`, or import a file of your own with {from_file}"
    return f"import a file of interactions with {from_file}"


def _movielens(
    name: str, md5: str, source: str, items: str = "", columns: str = "", counts: Counts | None = None, note: str = ""
) -> PublicDataset:
    return PublicDataset(
        name,
        "MovieLens, by GroupLens (https://grouplens.org/datasets/movielens/): for research; no redistribution and no "
        "commercial use without permission; cite Harper and Konstan, The MovieLens Datasets: History and Context, "
        "ACM TiiS 5(4), 2015",
        (PublicFile(f"https://files.grouplens.org/datasets/movielens/{name}.zip", f"md5:{md5}"),),
        source,
        items,
        tuple(columns.split(",")) if columns else (),
        counts,
        note=note,
    )


def _amazon_2014(category: str, name: str = "", counts: Counts | None = None) -> PublicDataset:
    folder = "https://snap.stanford.edu/data/amazon/productGraph/categoryFiles"
    files = (PublicFile(f"{folder}/reviews_{category}_5.json.gz"), PublicFile(f"{folder}/meta_{category}.json.gz"))
    return PublicDataset(
        name or f"amazon-2014-{_as_name(category)}",
        "Amazon reviews until 2014, 5-core, by McAuley (https://cseweb.ucsd.edu/~jmcauley/datasets/amazon/links.html): "
        "for research; cite He and McAuley, Ups and downs, WWW 2016, or McAuley et al., Image-based recommendations on "
        "styles and substitutes, SIGIR 2015",
        files,
        files[0].name,
        files[1].name,
        counts=counts,
    )


def _amazon_2023(category: str) -> PublicDataset:
    folder = "https://mcauleylab.ucsd.edu/public_datasets/data/amazon_2023"
    ratings = PublicFile(f"{folder}/benchmark/5core/rating_only/{category}.csv.gz")
    return PublicDataset(
        f"amazon-2023-{_as_name(category)}",
        "Amazon reviews until 2023, 5-core, by the McAuley Lab (https://amazon-reviews-2023.github.io/): for research; "
        "cite Hou et al., Bridging Language and Items for Retrieval and Recommendation, arXiv:2403.03952, 2024",
        (ratings,),
        ratings.name,
        columns=("user_id", "parent_asin", "timestamp"),
        note=f"for titles, fetch {folder}/raw/meta_categories/meta_{category}.jsonl.gz, which may be gigabytes, and "
        "import with --items",
    )


def _as_name(category: str) -> str:
    return category.lower().replace("_", "-").removeprefix("amazon-")


_PREFIXES = ("amazon-2014-", "amazon-2023-")
_RATINGS = "userId,movieId,timestamp"  # the columns of MovieLens' CSV files

_AMAZON_2014 = (
    "Amazon_Instant_Video",
    "Apps_for_Android",
    "Automotive",
    "Baby",
    "Books",
    "CDs_and_Vinyl",
    "Cell_Phones_and_Accessories",
    "Clothing_Shoes_and_Jewelry",
    "Digital_Music",
    "Electronics",
    "Grocery_and_Gourmet_Food",
    "Health_and_Personal_Care",
    "Home_and_Kitchen",
    "Kindle_Store",
    "Movies_and_TV",
    "Musical_Instruments",
    "Office_Products",
    "Patio_Lawn_and_Garden",
    "Pet_Supplies",
    "Tools_and_Home_Improvement",
    "Video_Games",
)

_AMAZON_2023 = (
    "All_Beauty",
    "Amazon_Fashion",
    "Appliances",
    "Arts_Crafts_and_Sewing",
    "Automotive",
    "Baby_Products",
    "Beauty_and_Personal_Care",
    "Books",
    "CDs_and_Vinyl",
    "Cell_Phones_and_Accessories",
    "Clothing_Shoes_and_Jewelry",
    "Digital_Music",
    "Electronics",
    "Gift_Cards",
    "Grocery_and_Gourmet_Food",
    "Handmade_Products",
    "Health_and_Household",
    "Health_and_Personal_Care",
    "Home_and_Kitchen",
    "Industrial_and_Scientific",
    "Kindle_Store",
    "Magazine_Subscriptions",
    "Movies_and_TV",
    "Musical_Instruments",
    "Office_Products",
    "Patio_Lawn_and_Garden",
    "Pet_Supplies",
    "Software",
    "Sports_and_Outdoors",
    "Subscription_Boxes",
    "Tools_and_Home_Improvement",
    "Toys_and_Games",
    "Video_Games",
)

PUBLIC_DATASETS: dict[str, PublicDataset] = {
    dataset.name: dataset
    for dataset in (
        _movielens(
            "ml-100k",
            "0e33842e24a9c977be4e0107933c0723",
            "ml-100k/u.data",
            columns="0,1,3",
            counts=Counts(943, 1_682, 100_000),
            note="by the name ml-100k RecBole always reads the copy that it comes with",
        ),
        _movielens(
            "ml-1m", "c4d9eecfca2ab87c1945afe126590906", "ml-1m/ratings.dat", "ml-1m/movies.dat", counts=TABLE1["ml-1m"]
        ),
        _movielens("ml-10m", "ce571fd55effeba0271552578f2648bd", "ml-10M100K/ratings.dat", "ml-10M100K/movies.dat"),
        _movielens(
            "ml-20m",
            "cd245b17a1ae2cc31bb14903e1204af3",
            "ml-20m/ratings.csv",
            "ml-20m/movies.csv",
            _RATINGS,
            Counts(138_493, 26_744, 20_000_263),
        ),
        _movielens(
            "ml-25m",
            "6b51fb2759a8657d3bfcbfc42b592ada",
            "ml-25m/ratings.csv",
            "ml-25m/movies.csv",
            _RATINGS,
            Counts(162_541, 59_047, 25_000_095),
        ),
        _movielens(
            "ml-32m",
            "d472be332d4daa821edc399621853b57",
            "ml-32m/ratings.csv",
            "ml-32m/movies.csv",
            _RATINGS,
            Counts(200_948, 84_432, 32_000_204),
        ),
        _amazon_2014("Beauty", "beauty", TABLE1["beauty"]),
        _amazon_2014("Sports_and_Outdoors", counts=Counts(35_598, 18_357, 296_337)),
        _amazon_2014("Toys_and_Games", counts=Counts(19_412, 11_924, 167_597)),
        PublicDataset(
            "yelp",
            "Yelp: only for a person who agrees to its terms, for research and teaching; no redistribution",
            by_hand="The yelp of the paper's Table 1 is what S3-Rec made of an older release: fetch Yelp.txt from "
            "https://github.com/RUCAIBox/CIKM2020-S3Rec/tree/master/data and run "
            f"`{COMMAND} import yelp --source=Yelp.txt`. For all of Yelp's reviews, agree and fetch the JSON files at "
            "https://business.yelp.com/data/resources/open-dataset/, unpack them and run "
            f"`{COMMAND} import yelp-reviews --source=yelp_academic_dataset_review.json "
            "--columns=user_id,business_id,date`",
        ),
        *map(_amazon_2014, _AMAZON_2014),
        *map(_amazon_2023, _AMAZON_2023),
    )
}


def known_names() -> str:
    """The names of all public datasets, those of Amazon's categories with what they have in common said once."""
    groups = {prefix: [name for name in PUBLIC_DATASETS if name.startswith(prefix)] for prefix in _PREFIXES}
    single = [name for name in PUBLIC_DATASETS if not name.startswith(_PREFIXES)]
    parts = [f"{prefix}... ({', '.join(name[len(prefix) :] for name in names)})" for prefix, names in groups.items()]
    return ", ".join([*single, *parts])
