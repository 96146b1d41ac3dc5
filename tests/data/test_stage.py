"""What the data stage maps is what RecBole loads, to the last id; it is found, refused and made anew as it should."""

import errno
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from recbole.config import Config
from recbole.data.dataset import Dataset, SequentialDataset
from recbole.data.dataset import dataset as recbole_module
from recbole.data.interaction import Interaction

from recbole_tslrec.data import stage
from recbole_tslrec.data.dataset import Data, DatasetError
from recbole_tslrec.data.stage import NEUTRAL, why_not_mapped
from recbole_tslrec.sequential.prefixes import PrefixDataset
from recbole_tslrec.settings.recommender import DatasetSettings

LAST_TWO = {"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user", "mode": "full"}
HEAD = "user_id:token\titem_id:token\trating:float\ttimestamp:float\tshop:token"

# over RecBole's defaults; the data have ties in time, repeated interactions, missing values and every type of column
SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "three columns": {"load_col": {"inter": ["user_id", "item_id", "timestamp"]}},
    "not loaded": {"unload_col": {"inter": ["rating"], "item": ["title"]}},
    "core": {"user_inter_num_interval": "[4,inf)", "item_inter_num_interval": "[4,inf)"},
    "core without files of their own": {
        "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
        "user_inter_num_interval": "(4,inf)",
        "item_inter_num_interval": "[6,1000]",
    },
    "users only": {"user_inter_num_interval": "[6,9]", "item_inter_num_interval": None},
    "two intervals": {"user_inter_num_interval": "[2,5];[8,inf)", "item_inter_num_interval": "[1,inf)"},
    "first of repeated": {"rm_dup_inter": "first"},
    "last of repeated, core": {"rm_dup_inter": "last", "user_inter_num_interval": "[4,inf)"},
    "values": {"val_interval": {"rating": "[2,5)", "timestamp": "(3,80]"}},
    "values of tokens": {"val_interval": {"shop": ["s1", "s2"]}},
    "values of items": {"val_interval": {"price": "[1,inf)"}, "filter_inter_by_user_or_item": True},
    "known items only": {"filter_inter_by_user_or_item": True},
    "label": {"threshold": {"rating": 3}},
    "scaled": {"normalize_all": True},
    "one scaled": {"normalize_field": ["rating", "price"]},
    "ids of one kind": {"alias_of_item_id": ["similar"]},
    "cut lists": {"seq_len": {"title": 2}},
    "long histories": {"MAX_ITEM_LIST_LENGTH": 100},
    "test only": {"eval_args": {**LAST_TWO, "split": {"LS": "test_only"}}},
    "validation only": {"eval_args": {**LAST_TWO, "split": {"LS": "valid_only"}}},
    "ratios by user": {"eval_args": {**LAST_TWO, "split": {"RS": [0.6, 0.3, 0.1]}}},
    "ratios": {"eval_args": {**LAST_TWO, "split": {"RS": [0.7, 0.2, 0.1]}, "group_by": None}},
    "time": {"eval_args": {**LAST_TWO, "split": {"TS": [0.6, 0.2, 0.2]}}},
    "columns dropped": {"unused_col": {"inter": ["rating", "shop_list"]}},
}


@pytest.fixture(scope="module")
def data_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset whose times are small whole numbers, which RecBole's float32 holds exactly, many of them equal."""
    folder = tmp_path_factory.mktemp("data") / "toy"
    folder.mkdir()
    draw = np.random.default_rng(0)
    rows = [HEAD]
    for _ in range(420):
        user, item, time = draw.integers(30), min(draw.integers(40), draw.integers(40)), draw.integers(100)
        rating = "" if draw.random() < 0.1 else str(draw.integers(1, 6) / 2)
        shop = "" if draw.random() < 0.1 else f"s{draw.integers(4)}"
        rows.append(f"u{user}\ti{item}\t{rating}\t{time}\t{shop}")
    (folder / "toy.inter").write_text("\n".join(rows) + "\n")
    items = ["item_id:token\ttitle:token_seq\tprice:float\tsimilar:token_seq\tmaker:token\tshape:float_seq"]
    items += [f"i{i}\t{'a b c d'[: i % 8]}\t{i / 2}\ti{i // 2} i99\tm{i % 3}\t{i}.5 2" for i in [*range(2, 40, 2), 77]]
    (folder / "toy.item").write_text("\n".join(items) + "\n")
    (folder / "toy.user").write_text(
        "user_id:token\tage:token\n" + "".join(f"u{u}\t{u % 7}\n" for u in range(0, 35, 2))
    )
    return folder.parent


@pytest.fixture
def config(data_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Config]:
    """``config(**settings)``: RecBole's own, of SASRec."""
    monkeypatch.setattr("sys.argv", ["run_recbole.py"])

    def make(**settings: Any) -> Config:
        fixed = {"data_path": str(data_path), "MAX_ITEM_LIST_LENGTH": 4, "load_col": None, "eval_args": LAST_TWO}
        return Config("SASRec", "toy", config_dict={**fixed, "train_neg_sample_args": None, **settings})

    return make


@pytest.fixture
def stock(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], Any]:
    """``stock(config)``: the dataset and its parts by RecBole's own code, but for its sort of rm_dup_inter."""

    def load(config: Any) -> Any:
        with monkeypatch.context() as patch:
            patch.setattr(recbole_module, "pd", pd)
            for kind in (Dataset, SequentialDataset):
                for name, method in list(vars(kind).items()):
                    while name != "_remove_duplication" and hasattr(method, "wrappers_of_recbole_tslrec"):
                        method = method.__wrapped__
                    if callable(method) and method is not vars(kind)[name]:
                        patch.setattr(kind, name, method)
            dataset = SequentialDataset(config)
            return state(dataset, dataset), [plain(part.inter_feat) for part in dataset.build()], features(dataset)

    return load


def state(dataset: Any, ordered_by: Any) -> dict[str, Any]:
    """All that loading leaves; interactions by (user, time), which is where both come to."""
    frame = dataset.inter_feat.sort_values([ordered_by.uid_field, ordered_by.time_field], kind="stable")
    left_out = {"config", "logger", "inter_feat", "known_order", "interactions_dropped"}
    return {
        **{name: plain(value) for name, value in vars(dataset).items() if name not in left_out | {"field2token_id"}},
        "field2token_id": {field: dict(dataset.field2token_id[field]) for field in dataset.field2id_token},
        "inter_feat": plain(frame),
    }


def features(dataset: Any) -> Any:
    return [plain(dataset.get_user_feature()), plain(dataset.get_item_feature())]


def plain(value: Any) -> Any:
    """What can be compared with ``==``."""
    match value:
        case torch.Tensor():
            return str(value.dtype), value.tolist()
        case np.ndarray():
            return value.tolist()
        case Interaction():
            return {name: plain(value[name]) for name in value}
        case pd.DataFrame():
            return {name: (str(value[name].dtype), [plain(one) for one in value[name]]) for name in value}
        case dict():
            return {name: plain(one) for name, one in value.items()}
    return value


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_what_is_mapped_is_what_recbole_loads(
    config: Callable[..., Config], stock: Callable[[Any], Any], settings: dict[str, Any], tmp_path: Path
) -> None:
    expected, parts, joined = stock(config(**settings))
    for _ in range(2):  # built, then found
        dataset = Data(config(**settings), tmp_path).dataset
        assert type(dataset) is PrefixDataset
        assert state(dataset, dataset) == expected
        assert [plain(part.inter_feat) for part in dataset.build()] == parts
        assert features(dataset) == joined
    assert len(list((tmp_path / "toy").glob("data-*/"))) == 1


@pytest.mark.parametrize("split", [{"LS": "valid_and_test"}, {"RS": [0.6, 0.3, 0.1]}], ids=["LS", "RS"])
def test_times_that_float32_cannot_tell_apart_keep_their_order(
    make_config: Callable[..., Any], tmp_path: Path, split: dict[str, Any]
) -> None:
    draw = np.random.default_rng(1)
    start = 1.6e9
    rows = [(f"u{draw.integers(6)}", f"i{draw.integers(9)}", start + int(draw.integers(90))) for _ in range(150)]
    config = make_config(interactions=rows, eval_args={**LAST_TWO, "split": split})
    Data(config, tmp_path / "kept")
    mapped, read = Data(config, tmp_path / "kept"), Data(config)
    assert mapped.description == read.description
    assert mapped.full.user_tokens == read.full.user_tokens
    assert mapped.full.items.tolist() == read.full.items.tolist()
    assert mapped.full.offsets.tolist() == read.full.offsets.tolist()
    assert mapped.item_tokens == read.item_tokens
    parts = [[plain(loader._dataset.inter_feat) for loader in data.loaders] for data in (mapped, read)]
    assert parts[0] == parts[1]
    assert mapped.histories.items.tolist() == read.histories.items.tolist()


def test_whole_dataset_stays_in_recboles_order_for_samplers_by_popularity(
    make_config: Callable[..., Any], tmp_path: Path
) -> None:
    config = make_config()
    Data(config, tmp_path / "kept")
    datasets = [Data(config, tmp_path / "kept").dataset, Data(config).dataset]
    for dataset in datasets:
        dataset.build()
    assert plain(datasets[0].inter_feat) == plain(datasets[1].inter_feat)


@pytest.mark.parametrize(
    "changed",
    [
        {"MAX_ITEM_LIST_LENGTH": 5},
        {"seed": 3},
        {"eval_args": {**LAST_TWO, "split": {"LS": "test_only"}}},
        {"epochs": 9},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_runs_that_load_alike_share_an_artifact(
    make_config: Callable[..., Any], tmp_path: Path, changed: dict[str, Any]
) -> None:
    Data(make_config(), tmp_path / "kept")
    Data(make_config(**changed), tmp_path / "kept")
    assert len(folders(tmp_path / "kept")) == 1


def folders(kept: Path) -> list[Path]:
    return [path for path in (kept / "toy").iterdir() if path.is_dir()]


def test_other_filters_are_another_artifact(make_config: Callable[..., Any], tmp_path: Path) -> None:
    Data(make_config(), tmp_path / "kept")
    fewer = Data(make_config(item_inter_num_interval="[15,inf)"), tmp_path / "kept")
    assert len(folders(tmp_path / "kept")) == 2
    assert fewer.description["items"] < 30


def test_every_key_of_a_dataset_is_in_the_recipe_or_says_why_not(make_config: Callable[..., Any]) -> None:
    keys = set(DatasetSettings.of(make_config()).recipe())
    assert set(NEUTRAL) <= keys
    assert all(NEUTRAL.values())
    assert set(stage._settings(make_config())) == keys - set(NEUTRAL)


def test_changed_file_is_read_again(make_config: Callable[..., Any], tmp_path: Path) -> None:
    config = make_config()
    before = Data(config, tmp_path / "kept").description["interactions"]
    with (tmp_path / "data" / "toy" / "toy.inter").open("a") as file:
        file.write("u0\ti0\t99.0\n")
    assert Data(config, tmp_path / "kept").description["interactions"] == before + 1


def test_file_that_changes_while_it_is_read_is_named(
    make_config: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, read = make_config(), stage.load

    def read_while_another_writes(config: Any) -> Any:
        loaded = read(config)
        with (tmp_path / "data" / "toy" / "toy.inter").open("a") as file:
            file.write("u0\ti0\t99.0\n")
        return loaded

    monkeypatch.setattr(stage, "load", read_while_another_writes)
    with pytest.raises(DatasetError, match=r"files of \[toy\] in .* were changed while they were read; run again when"):
        Data(config, tmp_path / "kept")
    assert not list((tmp_path / "kept" / "toy").glob("data-*[0-9a-f]/manifest.json"))


def test_full_disk_is_one_error(
    make_config: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("recbole_tslrec.data.mapped_dataset.write_array", no_space)
    with pytest.raises(OSError, match=r"no room for .*data-.* on its disk; free some"):
        Data(make_config(), tmp_path / "kept")
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert Data(make_config(), tmp_path / "kept").description["users"] == 40


@pytest.mark.parametrize("damage", ["cut", "flipped", "missing", "manifest"])
def test_damaged_artifact_is_made_anew(
    make_config: Callable[..., Any], tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    config = make_config()
    before = Data(config, tmp_path / "kept")
    (folder,) = folders(tmp_path / "kept")
    path = folder / ("manifest.json" if damage == "manifest" else "interactions.1.npy")
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(
            content[:-9] if damage != "flipped" else content[:-8] + bytes([content[-8] ^ 1]) + content[-7:]
        )
    with caplog.at_level(logging.WARNING):
        after = Data(config, tmp_path / "kept")
    assert "made anew from the dataset's files" in caplog.text
    assert after.full.items.tolist() == before.full.items.tolist()
    caplog.clear()
    Data(config, tmp_path / "kept")
    assert "made anew" not in caplog.text


def test_what_was_said_of_the_files_is_said_again(
    make_config: Callable[..., Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [(f"u{user}", f"i{item}", float(item // 2)) for user in range(5) for item in range(6)]
    config = make_config(interactions=rows)
    for _ in range(2):
        caplog.clear()
        with caplog.at_level(logging.INFO):
            Data(config, tmp_path / "kept")
        assert "100.0% of the interactions of [toy] have the time of another" in caplog.text
        assert "30 interactions read, 30 kept" in caplog.text


def test_nothing_that_a_run_writes_comes_into_the_files(make_config: Callable[..., Any], tmp_path: Path) -> None:
    rows = [(f"u{user}", f"i{(user * 7 + step) % 50}", float(step)) for user in range(900) for step in range(12)]
    config = make_config(interactions=rows)
    Data(config, tmp_path / "kept")
    (folder,) = folders(tmp_path / "kept")
    before = {path.name: path.read_bytes() for path in folder.glob("*.npy")}
    assert max(map(len, before.values())) > 1 << 16  # mapped, not read
    dataset = Data(config, tmp_path / "kept").dataset
    dataset.build()
    for column in dataset.interactions.interaction.values():
        column += 1
    assert {path.name: path.read_bytes() for path in folder.glob("*.npy")} == before


def test_column_of_lists_is_read_by_recbole_in_each_run(
    config: Callable[..., Config], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "data" / "toy").mkdir(parents=True)
    rows = "".join(f"u{u}\ti{i}\t{i}\ta b\n" for u in range(4) for i in range(5))
    (tmp_path / "data" / "toy" / "toy.inter").write_text(
        "user_id:token\titem_id:token\ttimestamp:float\ttags:token_seq\n" + rows
    )
    with caplog.at_level(logging.INFO):
        data = Data(config(data_path=str(tmp_path / "data")), tmp_path / "kept")
    assert "is read anew in each run, since column tags of its interactions holds lists" in caplog.text
    assert data.description["interactions"] == 20
    assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize("settings", [{}, {"save_dataset": True}])
def test_a_dataset_that_recbole_has_saved_is_never_read(
    config: Callable[..., Config], tmp_path: Path, settings: dict[str, Any]
) -> None:
    """A pickle may run code, and its file may be older than the data."""
    made = config(checkpoint_dir=str(tmp_path), **settings)
    saved = tmp_path / f"{made['dataset']}-PrefixDataset.pth"
    saved.write_bytes(b"cos\nabort\n(tR.")  # ends the process that unpickles it
    (tmp_path / f"{made['dataset']}-for-{made['model']}-dataloader.pth").write_bytes(saved.read_bytes())
    assert len(Data(made, tmp_path / "kept").loaders) == 3


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"numerical_features": ["rating"]}, "numerical_features is set"),
        ({"preload_weight": {"item_id": "shape"}}, "preload_weight is set"),
        ({"save_dataset": True}, "save_dataset is set"),
        ({}, ""),
    ],
)
def test_what_is_not_mapped_says_why(config: Callable[..., Config], settings: dict[str, Any], why: str) -> None:
    assert why_not_mapped(config(**settings)) == why


def test_dataset_class_with_a_loading_of_its_own_is_not_mapped(make_config: Callable[..., Any]) -> None:
    assert why_not_mapped(make_config("GRU4RecKG")) == (
        "KnowledgeGraphPrefixDataset of GRU4RecKG loads it in its own way"
    )


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """RecBole's configuration sets the level of the root logger."""
    level = logging.getLogger().level
    yield
    logging.getLogger().setLevel(level)
