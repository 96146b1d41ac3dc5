"""Results by user: written and read again, and what must not stand in one table."""

from dataclasses import replace

import pandas as pd
import pytest
from pyarrow import parquet

from recbole_tslrec.evaluation.per_user import (
    UserResults,
    check_comparable,
    means_of_users,
    read_users,
    shares_of_users,
    write_users,
)
from recbole_tslrec.store.artifacts import ArtifactError


@pytest.fixture
def results():
    frame = pd.DataFrame({"user_id": ["u", "é"], "item_id": ["a", "b"], "rank_unmasked": [1, 3], "rank_strict": [1, 2]})
    about = {"dataset": "toy", "fingerprint": "f", "model": "SASRec", "row": "Base", "seed": 1, "part": "test"}
    return UserResults(frame, {**about, "topk": [5, 10], "items": 4})


def test_written_results_are_read_again(results, tmp_path):
    write_users(tmp_path / "test_users.parquet", results)
    read = read_users(tmp_path / "test_users.parquet")
    pd.testing.assert_frame_equal(read.frame, results.frame)
    assert read.about == results.about
    assert read.modes == ("unmasked", "strict")
    assert [path.name for path in tmp_path.iterdir()] == ["test_users.parquet"]


def test_rows_of_a_user_are_one_value():
    assert means_of_users([0.5, 0.2, 1.0, 0.4], ["b", "a", "b", "c"]).tolist() == [0.75, 0.2, 0.4]


def test_the_shares_of_users_have_the_mean_of_all_rows():
    """1, 0 of a and 0 of b: the mean is 1/3, from which a's rows are 1/3 in sum and b's -1/3, and U / R is 2/3."""
    assert shares_of_users([1, 0, 0], ["a", "a", "b"]).tolist() == pytest.approx([1 / 3 + 2 / 9, 1 / 3 - 2 / 9])
    assert shares_of_users([0.5, 0.25], ["a", "b"]).tolist() == [0.5, 0.25]


def test_missing_file_names_the_folder_and_the_cure(tmp_path):
    with pytest.raises(ArtifactError, match=r"has no results by user: test_users.parquet is missing; .*--rebuild=ev"):
        read_users(tmp_path / "test_users.parquet")


def test_other_files_are_refused(results, tmp_path):
    path = tmp_path / "test_users.parquet"
    results.frame.to_parquet(path)
    assert parquet.read_schema(path).metadata  # of pandas, but not ours
    with pytest.raises(ArtifactError, match="holds no results by user"):
        read_users(path)
    path.write_text("no parquet")
    with pytest.raises(ArtifactError, match="holds no results by user"):
        read_users(path)


def test_rows_and_seeds_of_the_same_data_are_comparable(results):
    check_comparable([results, replace(results, about={**results.about, "row": "CI", "seed": 2})])


@pytest.mark.parametrize(("key", "other"), [("fingerprint", "g"), ("part", "valid"), ("dataset", "yelp"), ("items", 5)])
def test_other_data_are_refused(results, key, other):
    changed = replace(results, about={**results.about, "row": "CI", key: other})
    with pytest.raises(
        ValueError, match=rf"\[Base of SASRec on toy, seed 1, test\] and \[CI of .*{key} is \[.*{other}"
    ):
        check_comparable([results, changed])


def test_other_modes_are_refused(results):
    changed = replace(results, frame=results.frame.drop(columns="rank_strict"))
    with pytest.raises(ValueError, match=r"modes are \[unmasked, strict\] and \[unmasked\]"):
        check_comparable([results, changed])


@pytest.mark.parametrize("column", ["user_id", "item_id"])
def test_other_users_or_targets_are_refused(results, column):
    changed = replace(results, frame=results.frame.assign(**{column: ["x", "y"]}))
    with pytest.raises(ValueError, match=f"the {column} of their rows differ"):
        check_comparable([results, changed])
