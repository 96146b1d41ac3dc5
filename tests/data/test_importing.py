"""What is written is the source in RecBole's form, whole or not at all."""

from pathlib import Path

import pandas as pd
import pytest

from recbole_tslrec.configuration.config import Config
from recbole_tslrec.data import paper_counts
from recbole_tslrec.data.content import SourceError
from recbole_tslrec.data.dataset import Data
from recbole_tslrec.data.importing import five_core, import_dataset
from recbole_tslrec.data.paper_counts import Counts

HEADER = "user_id:token\titem_id:token\ttimestamp:float"


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def lines(folder: Path, ending: str = "inter") -> list[str]:
    return (folder / f"{folder.name}.{ending}").read_text().splitlines()


def ratings(users: int, items: int) -> str:
    """Everybody rates everything, all at one time, and one user a rare movie."""
    rows = [f"{user}::{item}::5::100" for user in range(users) for item in range(items)]
    return "\n".join([*rows, "0::rare::5::99"]) + "\n"


def test_interactions_are_in_time_order_and_ties_and_repeats_stay(tmp_path: Path) -> None:
    source = write(tmp_path / "given", "user_id,item_id,timestamp\nb,x,30\na,x,9.5\nb,y,10\nb,z,10\nb,y,10\n")
    assert import_dataset("toy", source, tmp_path / "data").counts == Counts(users=2, items=3, interactions=5)
    assert lines(tmp_path / "data" / "toy") == [
        HEADER,
        "b\ty\t10.0",
        "b\tz\t10.0",
        "b\ty\t10.0",
        "b\tx\t30.0",
        "a\tx\t9.5",
    ]


def test_unix_seconds_are_written_whole(tmp_path: Path) -> None:
    source = write(tmp_path / "given", "user_id,item_id,timestamp\na,x,978300761\n")
    import_dataset("toy", source, tmp_path / "data")
    assert lines(tmp_path / "data" / "toy")[1] == "a\tx\t978300761"


def test_a_raw_source_is_cut_to_its_core_and_takes_the_movies_beside_it(tmp_path: Path) -> None:
    source = write(tmp_path / "ml" / "ratings.dat", ratings(users=5, items=6))
    write(tmp_path / "ml" / "movies.dat", "0::Casino (1995)::Drama\nrare::Rare (1990)::Drama\n")
    assert import_dataset("toy", source, tmp_path / "data").counts == Counts(users=5, items=6, interactions=30)
    assert lines(tmp_path / "data" / "toy", "item")[:3] == [
        "item_id:token\ttitle:token_seq\tcategories:token_seq",
        "0\tCasino (1995)\tDrama",
        "1\t\t",
    ]
    assert len(lines(tmp_path / "data" / "toy", "item")) == 7  # not the rare one


def test_the_core_is_stable() -> None:
    """Leaving an item out takes a user below five interactions, and that user's leaving the next item."""
    full = [(f"u{user}", f"i{item}") for user in range(5) for item in range(5)]
    chain = [("v", f"i{item}") for item in range(4)] + [("v", "rare")]
    frame = pd.DataFrame(full + chain, columns=["user", "item"])
    assert five_core(frame).to_numpy().tolist() == [list(pair) for pair in full]


def test_recbole_reads_what_was_written(tmp_path: Path) -> None:
    source = write(tmp_path / "given", "u2 x y z x\nu1 z y x\n")
    import_dataset("toy", source, tmp_path / "data")
    data = Data(Config("SASRec", "toy", [], {"data_path": str(tmp_path / "data")}))
    found = {
        user: [data.item_tokens[item - 1] for item in data.full[row]] for row, user in enumerate(data.full.user_tokens)
    }
    assert found == {"u2": ["x", "y", "z", "x"], "u1": ["z", "y", "x"]}


def test_other_counts_than_the_papers_are_refused_with_the_difference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(paper_counts.TABLE1, "beauty", Counts(users=2, items=5, interactions=4))
    source = write(tmp_path / "given", "u1 x y z\nu2 x y\n")
    with pytest.raises(SourceError, match=r"2 users \(paper 2: \+0\), 3 items \(paper 5: -2\), 5 inter.*--allow_diff"):
        import_dataset("beauty", source, tmp_path / "data")
    assert not (tmp_path / "data").exists()
    import_dataset("beauty", source, tmp_path / "data", allow_difference=True)
    assert len(lines(tmp_path / "data" / "beauty")) == 6


def test_an_existing_dataset_is_kept_until_another_is_asked_for(tmp_path: Path) -> None:
    first, second = write(tmp_path / "first", "u1 x y\n"), write(tmp_path / "second", "u1 z z\n")
    import_dataset("toy", first, tmp_path / "data")
    with pytest.raises(SourceError, match="toy exists; --overwrite"):
        import_dataset("toy", second, tmp_path / "data")
    assert lines(tmp_path / "data" / "toy")[1] == "u1\tx\t1"
    import_dataset("toy", second, tmp_path / "data", overwrite=True)
    assert lines(tmp_path / "data" / "toy")[1] == "u1\tz\t1"
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["toy"]


def test_a_source_inside_the_folder_is_not_replaced_with_it(tmp_path: Path) -> None:
    source = write(tmp_path / "data" / "toy" / "given.txt", "u1 x y\n")
    with pytest.raises(SourceError, match="move it out first"):
        import_dataset("toy", source, tmp_path / "data", overwrite=True)
    assert source.exists()


def test_a_token_that_recbole_would_lose_is_refused(tmp_path: Path) -> None:
    """pandas takes NA for a missing value."""
    source = write(tmp_path / "given", "user_id,item_id\nu1,x\nu1,NA\n")
    with pytest.raises(SourceError, match=r"line 3: column \[item_id\] has no id: \[NA\]"):
        import_dataset("toy", source, tmp_path / "data", columns=("user_id", "item_id"))
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("name", ["", "..", "a/b"])
def test_a_name_is_one_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(SourceError, match="dataset name"):
        import_dataset(name, write(tmp_path / "given", "u1 x y\n"), tmp_path / "data")


def test_the_account_says_what_became_of_each_line(tmp_path: Path) -> None:
    found = import_dataset("toy", write(tmp_path / "ratings.dat", ratings(users=5, items=6) + "\n"), tmp_path / "data")
    assert found.account().splitlines() == [
        "read as movielens, 0 as user, 1 as item, 3 as time: 32 lines (1 blank)",
        "31 interactions read, 30 kept, 1 dropped by the 5-core (5 interactions a user and an item)",
    ]


def test_named_columns_are_of_ones_own_table_whatever_the_dataset_is_called(tmp_path: Path) -> None:
    source = write(tmp_path / "reviews.csv", "who,what,when\na,x,1\na,y,2\n")
    found = import_dataset("yelp", source, tmp_path / "data", columns=("who", "what", "when"))
    assert "not the dataset of the paper's Table 1: 1 users (paper 30,431: -30,430)" in found.account()


def test_blanks_around_ids_make_no_other_user(tmp_path: Path) -> None:
    source = write(tmp_path / "given", "user_id,item_id,timestamp\nu1,x,1\n u1,y,2\nu1 ,x,3\n")
    assert import_dataset("toy", source, tmp_path / "data").counts == Counts(users=1, items=2, interactions=3)


@pytest.mark.parametrize("token", ['"x', 'say "x"', "x'", "x y", "1.0", "ünï", "#5", "\\N"])
def test_stock_recbole_and_readers_without_quotes_find_the_same_tokens(tmp_path: Path, token: str) -> None:
    """A lone double quote at the beginning would swallow lines of the one, quoting would change ids of the other."""
    source = write(tmp_path / "given", f"user_id\titem_id\ttimestamp\nu1\t{token}\t1\nu1\ty\t2\n")
    import_dataset("toy", source, tmp_path / "data")
    path = tmp_path / "data" / "toy" / "toy.inter"
    with_quotes, without = (pd.read_csv(path, sep="\t", dtype=str, engine="python", quoting=it) for it in (0, 3))
    assert with_quotes.equals(without)
    assert with_quotes["item_id:token"].tolist() == [token.replace('"x', "'x") if token == '"x' else token, "y"]
