"""A dataset that cannot be used says why; the files beside its interactions are known by their contents."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recbole_tslrec.data.dataset import Data, DatasetError
from recbole_tslrec.store.contents import ContentHashes
from recbole_tslrec.store.files import hash_file

LOADED = {"inter": ["user_id", "item_id", "timestamp"], "item": ["item_id", "class"]}


def write_items(config: Any, text: str) -> Path:
    """Write the ``.item`` file of the toy dataset."""
    path = Path(config["data_path"]) / "toy.item"
    path.write_text(text)
    return path


def test_files_beside_the_interactions_are_known_by_their_contents(
    make_config: Callable[..., Any], tmp_path: Path
) -> None:
    config, hashes = make_config(load_col=LOADED), ContentHashes(tmp_path)
    path = write_items(config, "item_id:token\tclass:token\ni1\ta\n")
    (path.parent / "toy.link").write_text("not read")
    data = Data(config)
    before = data.feature_contents(hashes)
    assert before == {"item": hash_file(path)}
    write_items(config, "item_id:token\tclass:token\ni1\tanother\n")
    assert data.feature_contents(hashes) != before


def test_file_that_is_not_read_is_no_content(make_config: Callable[..., Any], tmp_path: Path) -> None:
    config = make_config()
    write_items(config, "item_id:token\tclass:token\ni1\ta\n")
    assert Data(config).feature_contents(ContentHashes(tmp_path)) == {}


def test_dataset_that_does_not_exist_is_named(make_config: Callable[..., Any], tmp_path: Path) -> None:
    config = make_config()
    (tmp_path / "data" / "toy" / "toy.inter").unlink()
    with pytest.raises(DatasetError, match=r"dataset \[toy\] does not exist: there is no .*toy\.inter"):
        Data(config)


def test_filters_that_leave_nothing_are_named(make_config: Callable[..., Any]) -> None:
    with pytest.raises(DatasetError, match=r"no interaction of \[toy\] passes the filters; widen user_inter_num"):
        Data(make_config(user_inter_num_interval="[1000,inf)"))


def test_feature_that_a_model_needs_is_named(make_config: Callable[..., Any]) -> None:
    with pytest.raises(DatasetError, match=r"FDSA needs column class \(selected_features\), and \[toy\] was loaded"):
        Data(make_config("FDSA"))


def test_key_that_does_not_go_with_the_files_is_named(make_config: Callable[..., Any]) -> None:
    with pytest.raises(DatasetError, match=r"RecBole cannot load .*toy\.inter .*Field \[rating\].*'val_interval'"):
        Data(make_config(val_interval={"rating": "[3,inf)"}))


def test_users_with_a_single_item_each_have_nothing_to_learn(make_config: Callable[..., Any]) -> None:
    rows = [(f"u{user}", f"i{user}", 0.0) for user in range(5)]
    with pytest.raises(DatasetError, match=r"no user of \[toy\] has 2 interactions"):
        Data(make_config(interactions=rows)).check_split()


def test_user_without_a_training_interaction_is_found_with_the_split(make_config: Callable[..., Any]) -> None:
    rows = [(f"u{user}", f"i{user + step}", float(step)) for user in range(5) for step in range(4)]
    with pytest.raises(ValueError, match="1 of 6 users have no training interaction, the first is 'lonely'"):
        Data(make_config(interactions=[*rows, ("lonely", "i1", 0.0)])).check_split()


def test_users_with_two_items_leave_nothing_to_test(make_config: Callable[..., Any]) -> None:
    rows = [(f"u{user}", f"i{user + step}", float(step)) for user in range(5) for step in range(2)]
    with pytest.raises(DatasetError, match=r"the validation and the test set of .*5 users have 2 interactions"):
        Data(make_config(interactions=rows)).check_split()
