"""What RecBole's ``SequentialDataset`` gives, a ``PrefixDataset`` gives, after each of RecBole's operations."""

import copy
import pickle
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from recbole.config import Config
from recbole.data import data_preparation
from recbole.data.dataset import SequentialDataset
from recbole.data.interaction import Interaction, cat_interactions
from recbole.data.transform import construct_transform
from recbole.data.utils import load_split_dataloaders
from scipy.sparse import spmatrix

from recbole_tslrec.sequential.prefixes import PrefixDataset

KINDS = (SequentialDataset, PrefixDataset)
LISTS = {"item_id_list", "rating_list", "timestamp_list", "tags_list", "weights_list"}
RATIOS = {"split": {"RS": [0.5, 0.25, 0.25]}, "order": "TO", "group_by": "user", "mode": "full"}
TIMES = {"split": {"TS": [0.5, 0.25, 0.25]}, "order": "TO", "group_by": "user", "mode": "full"}
LAST_TWO = {"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user", "mode": "full"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset with every type of column: token, float, and lists of both; with users' and items' own columns."""
    folder = tmp_path_factory.mktemp("data") / "toy"
    folder.mkdir()
    draw = random.Random(0)
    rows = []
    for user in range(9):
        for _ in range(draw.randint(2, 14)):
            tags = " ".join(f"t{draw.randint(0, 5)}" for _ in range(draw.randint(1, 3)))
            weights = " ".join(f"{draw.random():.2f}" for _ in range(2))
            rows.append(
                f"u{user}\ti{draw.randint(0, 11)}\t{draw.randint(1, 5)}\t{draw.randint(0, 99)}\t{tags}\t{weights}"
            )
    header = "user_id:token\titem_id:token\trating:float\ttimestamp:float\ttags:token_seq\tweights:float_seq"
    (folder / "toy.inter").write_text("\n".join([header, *rows]) + "\n")
    (folder / "toy.item").write_text(
        "\n".join(["item_id:token\tprice:float", *(f"i{item}\t{item / 2}" for item in range(12))]) + "\n"
    )
    (folder / "toy.user").write_text(
        "\n".join(["user_id:token\tage:token", *(f"u{user}\t{user % 3}" for user in range(9))]) + "\n"
    )
    return folder.parent


@pytest.fixture
def config(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Config]:
    """``config(**settings)``: RecBole's own."""
    monkeypatch.setattr("sys.argv", ["run_recbole.py"])

    def make(**settings: Any) -> Config:
        fixed = {"data_path": str(folder), "MAX_ITEM_LIST_LENGTH": 4, "load_col": None, "train_neg_sample_args": None}
        return Config("SASRec", "toy", config_dict={**fixed, "eval_args": LAST_TWO, **settings})

    return make


def plain(value: Any) -> Any:
    """What can be compared with ``==``: columns in their order with type, shape and values."""
    match value:
        case torch.Tensor():
            return str(value.dtype), tuple(value.shape), value.tolist()
        case np.ndarray():
            return str(value.dtype), value.shape, value.tolist()
        case Interaction():
            return value.length, value.columns, [plain(value[name]) for name in value]
        case SequentialDataset():
            return plain(value.inter_feat)
        case spmatrix():
            return plain(value.toarray())
        case dict():
            return [(name, plain(one)) for name, one in value.items()]
        case list() | tuple():
            return [plain(one) for one in value]
    return value


def result(operation: Callable[[Any], Any], dataset: Any) -> Any:
    """What an operation gives with RecBole's seeds, or the error that it ends in."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    try:
        return plain(operation(dataset))
    except (KeyError, ValueError, TypeError, IndexError) as error:
        return type(error)


def after(change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The rows of a dataset after something was done to them in place."""

    def changed(dataset: Any) -> Any:
        change(dataset.inter_feat)
        return dataset.inter_feat

    return changed


def double_the_first_list(rows: Any) -> None:
    rows["item_id_list"][0] *= 2
    rows.sort("rating")


OPERATIONS: dict[str, Callable[[Any], Any]] = {
    # reading
    "all": lambda dataset: dataset.inter_feat,
    "a list column": lambda dataset: dataset.inter_feat["item_id_list"],
    "an attribute": lambda dataset: dataset.inter_feat.timestamp_list,
    "of the dataset": lambda dataset: dataset.__getitem__("rating_list", join=False),
    "of no name": lambda dataset: dataset.inter_feat["no_list"],
    "in": lambda dataset: ["item_id_list" in dataset.inter_feat, "no_list" in dataset.inter_feat],
    "names": lambda dataset: [dataset.inter_feat.columns, list(dataset.inter_feat), len(dataset.inter_feat)],
    "str": lambda dataset: [str(dataset), str(dataset.inter_feat), repr(dataset.inter_feat)],
    "fields": lambda dataset: [dataset.fields(), dataset.field2seqlen, str(dataset.field2type), dataset.num("item_id")],
    # the dict inside
    "dict": lambda dataset: dict(dataset.inter_feat.interaction),
    "unpacked": lambda dataset: {**dataset.inter_feat.interaction},
    "united": lambda dataset: dataset.inter_feat.interaction | {},
    "items": lambda dataset: list(dataset.inter_feat.interaction.items()),
    "keys": lambda dataset: list(dataset.inter_feat.interaction.keys()),
    "reversed": lambda dataset: list(reversed(dataset.inter_feat.interaction)),
    "values": lambda dataset: list(dataset.inter_feat.interaction.values()),
    "get": lambda dataset: [dataset.inter_feat.interaction.get(name) for name in ("item_id_list", "no_list")],
    "pop": lambda dataset: [dataset.inter_feat.interaction.pop("item_id_list"), dataset.inter_feat],
    "copied": lambda dataset: dataset.inter_feat.interaction.copy(),
    "printed": lambda dataset: repr(dataset.inter_feat.interaction),
    "another Interaction": lambda dataset: Interaction(dataset.inter_feat.interaction),
    # selecting
    "slice": lambda dataset: [dataset.inter_feat[2:9:3], dataset.inter_feat[-2:], dataset.inter_feat[:0]],
    "list": lambda dataset: [dataset.inter_feat[[3, 1, 1]], dataset.inter_feat[[]]],
    "array": lambda dataset: [dataset.inter_feat[np.array([3, -1])], dataset.inter_feat[np.array([])]],
    "bytes": lambda dataset: dataset.inter_feat[np.array([1, 0, 2], dtype=np.uint8)],
    "tensor": lambda dataset: dataset.inter_feat[torch.tensor([4, 0])],
    "mask": lambda dataset: dataset.inter_feat[dataset.inter_feat["rating"] > 3],
    "mask of lists": lambda dataset: dataset.inter_feat[dataset.inter_feat["item_id_list"][:, 1] > 0],
    "a row": lambda dataset: [dataset.inter_feat[5], dataset.inter_feat[np.int64(5)], dataset[5]],
    "no rows": lambda dataset: dataset.inter_feat[[10**6]],
    "real numbers": lambda dataset: dataset.inter_feat[np.array([0.5])],
    "batch": lambda dataset: [dataset[np.array([3, 1])], dataset[[2, 4]], dataset[1:4], dataset[torch.tensor([0])]],
    "batch without features": lambda dataset: dataset.__getitem__([3, 1], join=False),
    # changing
    "sort": after(lambda rows: rows.sort("item_id")),
    "sort by several": after(lambda rows: rows.sort(["item_length", "rating"])),
    "sort by a list": after(lambda rows: rows.sort("item_id_list")),
    "sort by nothing": after(lambda rows: rows.sort("no_list")),
    "shuffle": after(lambda rows: rows.shuffle()),
    "set": after(lambda rows: rows.__setitem__("item_id_list", rows["item_id_list"] + 1)),
    "set in place": after(double_the_first_list),
    "set a length": after(lambda rows: rows["item_length"].fill_(0)),
    "set a column": after(lambda rows: rows.update(Interaction({"mine": torch.arange(len(rows))}))),
    "delete": after(lambda rows: rows.__delitem__("item_id_list")),
    "delete what is not there": after(lambda rows: rows.__delitem__("no_list")),
    "drop": after(lambda rows: rows.drop("timestamp_list")),
    "prefix": after(lambda rows: (rows.add_prefix("a_"), rows.sort("a_rating"))),
    # copying
    "copy": lambda dataset: dataset.copy(dataset.inter_feat[1:4]),
    "shallow": lambda dataset: copy.copy(dataset.inter_feat)[[1]],
    "deep": lambda dataset: copy.deepcopy(dataset)[[1, 2]],
    "pickle": lambda dataset: pickle.loads(pickle.dumps(dataset)),
    "to": lambda dataset: [dataset.inter_feat.to("cpu"), dataset.inter_feat.to("cpu", "item_id_list")],
    "cpu": lambda dataset: dataset.inter_feat.cpu(),
    "numpy": lambda dataset: dataset.inter_feat.numpy(),
    "repeat": lambda dataset: [dataset.inter_feat.repeat(2), dataset.inter_feat.repeat_interleave(2)],
    "join two": lambda dataset: sorted(
        plain(cat_interactions([dataset.inter_feat, dataset.inter_feat[:2]]).interaction)
    ),
    # RecBole's dataset
    "matrix": lambda dataset: [dataset.inter_matrix(), dataset.inter_matrix("csr", "rating")],
    "matrix of a column that is not there": lambda dataset: dataset.inter_matrix("coo", "no_list"),
    "histories": lambda dataset: [dataset.history_item_matrix(), dataset.history_user_matrix("rating")],
    "split": lambda dataset: dataset.split_by_ratio([0.5, 0.5], group_by="user_id"),
    "split anywhere": lambda dataset: dataset.split_by_ratio([0.7, 0.3]),
    "last ones": lambda dataset: dataset.leave_one_out("user_id", "valid_and_test"),
    "shuffled dataset": lambda dataset: (dataset.shuffle(), dataset)[1],
    "counts": lambda dataset: [dataset.item_counter, dataset.user_num, dataset.avg_actions_of_users, dataset.sparsity],
}


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_gives_what_recbole_gives(config: Callable[..., Config], operation: Callable[[Any], Any]) -> None:
    expected, found = (result(operation, kind(config()).build()[0]) for kind in KINDS)
    assert found == expected


@pytest.mark.parametrize("eval_args", [LAST_TWO, RATIOS, TIMES], ids=["LS", "RS", "TS"])
def test_parts_of_a_split_are_recboles(config: Callable[..., Config], eval_args: dict[str, Any]) -> None:
    expected, found = (plain(kind(config(eval_args=eval_args)).build()) for kind in KINDS)
    assert found == expected


@pytest.mark.parametrize(
    "settings",
    [
        {"numerical_features": ["rating"], "normalize_field": ["rating"], "normalize_all": False},
        {"unused_col": {"inter": ["timestamp_list", "rating"]}},
        {"user_inter_num_interval": "[5,inf)", "rm_dup_inter": "first"},
        {"LIST_SUFFIX": "_before", "ITEM_LIST_LENGTH_FIELD": "n"},
        {"MAX_ITEM_LIST_LENGTH": 100},
        {"seq_len": {"tags": 2}},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_settings_of_the_data_change_what_they_change_in_recbole(
    config: Callable[..., Config], settings: dict[str, Any]
) -> None:
    expected, found = (plain(kind(config(**settings)).build()) for kind in KINDS)
    assert found == expected


@pytest.mark.parametrize(
    "operation",
    ["in", "names", "fields", "slice", "mask", "sort", "shuffle", "copy", "pickle", "histories", "split", "last ones"],
)
def test_makes_no_list_column_that_nobody_asks_for(config: Callable[..., Config], operation: str) -> None:
    dataset = PrefixDataset(config()).build()[0]
    made = OPERATIONS[operation](dataset)
    rows = [dataset.inter_feat]
    rows += [getattr(one, "inter_feat", one) for one in (made if isinstance(made, list | tuple) else [made])]
    for lazy in rows:
        columns = getattr(lazy, "interaction", None)
        if columns:
            assert {name for name, column in dict.items(columns) if column is None} >= LISTS


def test_what_was_asked_for_is_kept(config: Callable[..., Config]) -> None:
    rows = PrefixDataset(config()).build()[0].inter_feat
    assert rows["item_id_list"] is rows["item_id_list"]


def test_long_list_columns_are_made_in_pieces(config: Callable[..., Config], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recbole_tslrec.sequential.prefixes._ROWS_AT_ONCE", 7)
    expected, found = (plain(kind(config()).build()) for kind in KINDS)
    assert found == expected


@pytest.mark.parametrize("transform", ["mask_itemseq", "inverse_itemseq", "crop_itemseq", "reorder_itemseq"])
def test_transforms_of_a_whole_dataset(config: Callable[..., Config], transform: str) -> None:
    settings = {"transform": transform, "mask_ratio": 0.5, "ft_ratio": 0.5, "eta": 0.6, "beta": 0.6}

    def transformed(dataset: Any) -> Any:
        return construct_transform(dataset.config)(dataset, dataset.inter_feat)

    expected, found = (result(transformed, kind(config(**settings)).build()[0]) for kind in KINDS)
    assert found == expected


@pytest.mark.parametrize("negatives", [None, {"distribution": "uniform", "sample_num": 2}], ids=["CE", "BPR"])
@pytest.mark.parametrize("mode", ["full", "uni5"])
@pytest.mark.parametrize("transform", [None, "mask_itemseq", "crop_itemseq"])
def test_loaders_give_recboles_batches(
    config: Callable[..., Config], negatives: Any, mode: str, transform: str | None
) -> None:
    settings = {"train_neg_sample_args": negatives, "loss_type": "CE" if negatives is None else "BPR"}
    settings |= {"eval_args": {**LAST_TWO, "mode": mode}, "transform": transform, "mask_ratio": 0.5, "eta": 0.6}
    settings |= {"train_batch_size": 16, "eval_batch_size": 64}

    def batches(dataset: Any) -> Any:
        return [list(loader) for loader in data_preparation(dataset.config, dataset)]

    expected, found = (result(batches, kind(config(**settings))) for kind in KINDS)
    assert isinstance(expected, list)
    assert found == expected


def test_saved_datasets_and_loaders_come_back(config: Callable[..., Config], tmp_path: Path) -> None:
    settings = config(checkpoint_dir=str(tmp_path), save_dataloaders=True)

    def come_back(dataset: Any) -> Any:
        dataset.save()
        (file,) = tmp_path.glob("*Dataset.pth")
        with file.open("rb") as stream:
            loaded = pickle.load(stream)
        file.unlink()
        data_preparation(dataset.config, loaded)  # saves its loaders
        loaders = load_split_dataloaders(dataset.config)
        return [[loader._dataset, list(loader)] for loader in loaders]

    expected, found = (result(come_back, kind(settings)) for kind in KINDS)
    assert isinstance(expected, list)
    assert found == expected


def test_workers_make_the_batches(config: Callable[..., Config]) -> None:
    here, in_a_worker = (
        plain(list(data_preparation(settings, PrefixDataset(settings))[1]))
        for settings in (config(worker=0), config(worker=1))
    )
    assert in_a_worker == here


def test_benchmark_files_are_taken_as_recbole_takes_them(config: Callable[..., Config], tmp_path: Path) -> None:
    header = "user_id:token\titem_id_list:token_seq\titem_id:token\n"
    (tmp_path / "toy").mkdir()
    files = {"train": "u0\ti1 i2\ti3\nu1\ti2\ti1\n", "valid": "u0\ti1 i3\ti2\n", "test": "u1\ti2\ti3\n"}
    for part, rows in files.items():
        (tmp_path / "toy" / f"toy.{part}.inter").write_text(header + rows)
    settings = {"benchmark_filename": ["train", "valid", "test"], "alias_of_item_id": ["item_id_list"]}
    columns = {"inter": ["user_id", "item_id_list", "item_id"]}
    made = config(data_path=str(tmp_path), load_col=columns, **settings)

    def parts(dataset: Any) -> Any:
        loaders = data_preparation(dataset.config, dataset)
        return [[loader._dataset, loader._dataset.inter_matrix(), list(loader)] for loader in loaders]

    expected, found = (result(parts, kind(made)) for kind in KINDS)
    assert found == expected
