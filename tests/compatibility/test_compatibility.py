"""RecBole's faults, mended: exact time order, its checkpoints, gelu, anomaly mode, ray, and versions that corrupt."""

import contextlib
import importlib.metadata
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from enum import Enum
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import recbole.quick_start
import torch
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.data.dataset import SequentialDataset
from recbole.evaluator import Collector
from recbole.model import layers
from recbole.model.sequential_recommender import fearec
from recbole.trainer import Trainer
from recbole.utils import init_seed

from recbole_tslrec import compatibility
from recbole_tslrec.compatibility import checkpoints, loading_a_checkpoint
from recbole_tslrec.compatibility.processes import run_recboles
from recbole_tslrec.models import SASRec

REPOSITORY = Path(__file__).resolve().parents[2]
UNPICKLE = "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"
START = 881250949  # a time of ml-100k; float32 knows multiples of 64 s here
TRUE_HISTORIES = {"u": ["a", "b", "c", "d", "e"], "v": ["e", "c", "a", "d", "b"], "old": ["a", "b", "c", "d", "e"]}


def shuffled_unix_times() -> list[tuple[str, str, float]]:
    """TRUE_HISTORIES with steps of 10 s, but for one user of 1970: latest first in the file."""
    starts = {"u": START, "v": START + 7, "old": 0}
    rows = [
        (u, item, starts[u] + 10.0 * step) for u, items in TRUE_HISTORIES.items() for step, item in enumerate(items)
    ]
    return rows[::-1]


def loaders(config: Any) -> tuple[Any, Any, Any]:
    return data_preparation(config, create_dataset(config))


def histories_and_targets(loader: Any) -> dict[str, tuple[list[str], str]]:
    """By user token: the history and the item to predict, as tokens."""
    dataset, found = loader._dataset, {}
    for row in range(len(dataset.inter_feat)):
        values = dataset[[row]][0]
        history = [int(item) for item in values["item_id_list"][: int(values["item_length"])]]
        tokens = [str(token) for token in dataset.id2token("item_id", history)]
        user = str(dataset.id2token("user_id", int(values["user_id"])))
        found[user] = (tokens, str(dataset.id2token("item_id", int(values["item_id"]))))
    return found


def python(script: str, *arguments: str, path: str = "") -> Any:
    """Run a script in a process of its own and read the JSON of its last line."""
    environment = {key: value for key, value in os.environ.items() if key != UNPICKLE}
    environment |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    command = [sys.executable, "-W", "ignore", "-c", script, *arguments]
    finished = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert finished.returncode == 0, finished.stderr
    return json.loads(finished.stdout.splitlines()[-1])


# time order


@pytest.mark.parametrize("normalize_all", [False, True])
def test_histories_and_test_targets_are_in_true_order(make_config: Callable[..., Any], normalize_all: bool) -> None:
    _, _, test = loaders(make_config("SASRec", shuffled_unix_times(), normalize_all=normalize_all))
    assert histories_and_targets(test) == {user: (items[:4], items[4]) for user, items in TRUE_HISTORIES.items()}


def test_validation_target_is_the_latest_but_one(make_config: Callable[..., Any]) -> None:
    _, valid, _ = loaders(make_config("SASRec", shuffled_unix_times(), normalize_all=False))
    assert histories_and_targets(valid) == {user: (items[:3], items[3]) for user, items in TRUE_HISTORIES.items()}


STOCK = """
import json, sys, types
import numpy as np
for name, value in {"float_": np.float64, "complex_": np.complex128, "unicode_": np.str_}.items():
    if not hasattr(np, name):
        setattr(np, name, value)
data_path, sys.argv = sys.argv[1], ["x"]
from recbole.config import Config
from recbole.config import Config
from recbole.data import create_dataset, data_preparation

targets = {}
for normalize_all in (False, True):
    settings = {"data_path": data_path, "load_col": {"inter": ["user_id", "item_id", "timestamp"]}}
    settings |= {"normalize_all": normalize_all, "train_neg_sample_args": None}
    config = Config("SASRec", "toy", config_dict=settings)
    test = data_preparation(config, create_dataset(config))[2]._dataset
    users, items = test.inter_feat["user_id"].tolist(), test.inter_feat["item_id"].tolist()
    targets[str(normalize_all)] = {
        str(test.id2token("user_id", user)): str(test.id2token("item_id", item)) for user, item in zip(users, items)
    }
print(json.dumps({"targets": targets, "patched": "recbole_tslrec" in sys.modules}))
"""


@pytest.mark.skipif(find_spec("ray") is None, reason="stock RecBole cannot be imported without ray")
def test_stock_recbole_gets_test_targets_of_the_same_data_wrong(make_config: Callable[..., Any]) -> None:
    data_path = Path(make_config("SASRec", shuffled_unix_times())["data_path"]).parent
    stock = python(STOCK, str(data_path))
    assert not stock["patched"]
    latest = {user: items[-1] for user, items in TRUE_HISTORIES.items()}
    assert set(stock["targets"]["False"]) == set(latest)
    assert stock["targets"]["False"] != latest
    assert stock["targets"]["True"] != latest


def test_ties_keep_the_order_of_the_file(make_config: Callable[..., Any]) -> None:
    rows = [("u", "d", 5.0), ("u", "c", 5.0), ("u", "z", 1.0), ("u", "a", 5.0), ("u", "b", 5.0)]
    _, _, test = loaders(make_config("SASRec", rows, normalize_all=False))
    assert histories_and_targets(test) == {"u": (["z", "d", "c", "a"], "b")}


def test_files_that_are_split_already_stay_as_they_are_split(make_config: Callable[..., Any]) -> None:
    columns = ["user_id", "item_id_list", "item_id", "timestamp"]
    config = make_config(
        "SASRec",
        benchmark_filename=["train", "valid", "test"],
        alias_of_item_id=["item_id_list"],
        load_col={"inter": columns},
        normalize_all=False,
    )
    given = {"train": ["v\ta b\tc\t3.0", "u\ta\tb\t2.0"], "valid": ["u\ta b\tc\t3.0"], "test": ["v\ta b c\td\t4.0"]}
    head = "user_id:token\titem_id_list:token_seq\titem_id:token\ttimestamp:float"
    for part, rows in given.items():
        Path(config["data_path"], f"toy.{part}.inter").write_text("\n".join([head, *rows]) + "\n")
    train, valid, test = (histories_and_targets(loader) for loader in loaders(config))
    assert train == {"v": (["a", "b"], "c"), "u": (["a"], "b")}
    assert valid == {"u": (["a", "b"], "c")}
    assert test == {"v": (["a", "b", "c"], "d")}


# RecBole's own checkpoints


@pytest.fixture
def trained(make_config: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Any]:
    """RecBole's own trainer after one epoch of its own SASRec, and the loader of the test items."""
    monkeypatch.delenv(UNPICKLE, raising=False)
    rows = [(f"u{user}", f"i{(user + step) % 12}", float(step)) for user in range(12) for step in range(5)]
    config = make_config("SASRec", rows, checkpoint_dir=str(tmp_path / "saved"))
    init_seed(config["seed"], True)
    train, valid, test = loaders(config)
    trainer = Trainer(config, SASRec(config, train._dataset))
    trainer.fit(train, valid, verbose=False, show_progress=False)
    return trainer, test


def test_trainer_evaluates_its_own_best_model(trained: tuple[Any, Any]) -> None:
    trainer, test = trained
    best = trainer.model.item_embedding.weight.detach().clone()
    torch.nn.init.zeros_(trainer.model.item_embedding.weight)
    result = trainer.evaluate(test, load_best_model=True)
    assert 0 <= result["hit@10"] <= 1
    assert torch.equal(trainer.model.item_embedding.weight, best)


def test_trainer_resumes_its_own_checkpoint(trained: tuple[Any, Any]) -> None:
    trainer, _ = trained
    trainer.start_epoch = 0
    trainer.resume_checkpoint(trainer.saved_model_file)
    assert trainer.start_epoch == 1


def test_a_python_that_pickles_enums_by_name_writes_readable_checkpoints(
    trained: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Python 3.11.0 to 3.11.3 do; RecBole's configurations hold enums."""
    trainer, test = trained
    monkeypatch.setattr(Enum, "__reduce_ex__", lambda member, _protocol: (getattr, (type(member), member.name)))
    by_name = Enum.__reduce_ex__
    trainer._save_checkpoint(0, verbose=False)
    assert Enum.__reduce_ex__ is by_name
    assert 0 <= trainer.evaluate(test, load_best_model=True)["hit@10"] <= 1


def test_other_files_with_a_configuration_are_still_refused(trained: tuple[Any, Any]) -> None:
    trainer, test = trained
    trainer.evaluate(test, load_best_model=True)
    with pytest.raises(pickle.UnpicklingError, match=r"[Ww]eights.only"):
        torch.load(trainer.saved_model_file)


class Touch:
    """Unpickling it makes a file: what a checkpoint from a stranger could do."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("touched"),)


@pytest.mark.parametrize("protocol", [2, 4])
def test_checkpoint_that_would_execute_something_is_refused(trained: tuple[Any, Any], protocol: int) -> None:
    trainer, test = trained
    torch.save({"config": trainer.config, "state_dict": Touch()}, "stranger.pth", pickle_protocol=protocol)
    readers = [
        recbole.quick_start.load_data_and_model,
        trainer.resume_checkpoint,
        lambda file: trainer.evaluate(test, model_file=file),
    ]
    for read in readers:
        with pytest.raises(pickle.UnpicklingError, match="TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1"):
            read("stranger.pth")
    assert not Path("touched").exists()


class Evaluate:
    """A configuration made of strings, which RecBole's ``Config`` evaluates as Python."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Config, ("SASRec", "toy", None, {"seed": "__import__('pathlib').Path('touched').touch()"})


def test_a_checkpoint_may_not_construct_a_configuration(trained: tuple[Any, Any]) -> None:
    trainer, _ = trained
    torch.save({"config": Evaluate(), "state_dict": {}}, "stranger.pth", pickle_protocol=2)
    for read in (recbole.quick_start.load_data_and_model, trainer.resume_checkpoint):
        with pytest.raises(pickle.UnpicklingError, match="TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1"):
            read("stranger.pth")
    assert not Path("touched").exists()
    config = Config("SASRec", "toy", config_dict={"train_neg_sample_args": None})  # where nothing is loaded
    assert config["model"] == "SASRec"


def test_what_is_replaced_comes_back_when_the_last_thread_has_ended() -> None:
    """Two threads that write and read overlap."""
    before = torch.save, torch.load, Enum.__reduce_ex__
    replaced = checkpoints._PROTOCOL_2, checkpoints._ENUMS_BY_VALUE, checkpoints._ATTRIBUTES_ONLY
    first, second = contextlib.ExitStack(), contextlib.ExitStack()
    for stack in (first, second):
        for each in replaced:
            stack.enter_context(each)
    first.close()
    assert torch.save is not before[0]
    second.close()
    assert (torch.save, torch.load, Enum.__reduce_ex__) == before


def test_checkpoint_of_a_recbole_without_this_package_needs_consent(
    trained: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer, _ = trained
    with loading_a_checkpoint():
        state = torch.load(trainer.saved_model_file)
    torch.save(state, "stock.pth", pickle_protocol=4)  # as recbole/trainer/trainer.py does
    with pytest.raises(pickle.UnpicklingError, match="not written under recbole_tslrec"):
        trainer.resume_checkpoint("stock.pth")
    monkeypatch.setenv(UNPICKLE, "1")
    trainer.start_epoch = 0
    trainer.resume_checkpoint("stock.pth")
    assert trainer.start_epoch == 1


# metrics of a catalogue


def test_catalogue_metrics_are_computed_at_every_evaluation(make_config: Callable[..., Any]) -> None:
    names = ["Hit", "ItemCoverage", "AveragePopularity", "ShannonEntropy", "GiniIndex", "TailPercentage"]
    rows = [(f"u{user}", f"i{(user + step) % 12}", float(step)) for user in range(12) for step in range(5)]
    config = make_config("SASRec", rows, metrics=names, topk=[1], valid_metric="Hit@1")
    init_seed(config["seed"], True)
    train, valid, test = loaders(config)
    model = SASRec(config, train._dataset)
    model.full_sort_predict = lambda interaction: torch.eye(13)[3].repeat(len(interaction), 1)  # one item for all
    trainer = Trainer(config, model)
    trainer.eval_collector.data_collect(train)
    first, second = (trainer.evaluate(loader, load_best_model=False) for loader in (valid, test))
    assert (
        first["itemcoverage@1"] == second["itemcoverage@1"] == pytest.approx(1 / 13, abs=1e-4)
    )  # RecBole counts the pad
    assert {name.partition("@")[0] for name in second} == {name.lower() for name in names}


# the import

IMPORT = """
import json, os, sys
import numpy, torch
torch.autograd.set_detect_anomaly(True)
sys.modules["ray"] = None  # import ray: ModuleNotFoundError
import recbole_tslrec
from recbole.quick_start import run_recbole
unpickle = os.environ.get("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD")
print(json.dumps({"anomaly": torch.is_anomaly_enabled(), "unpickle": unpickle, "runs": callable(run_recbole),
                  "float": numpy.zeros(1, dtype=vars(numpy)["float"]).dtype.name}))
"""


def test_import_leaves_anomaly_mode_off() -> None:
    assert "recbole.model.sequential_recommender.sine" in sys.modules  # its import turns the mode on
    assert not torch.is_anomaly_enabled()


@pytest.fixture(scope="module")
def import_in_anomaly_mode_without_ray() -> dict[str, Any]:
    """The import in a process where the user debugs gradients and ray cannot be imported."""
    return python(IMPORT, path=str(REPOSITORY))


def test_import_leaves_anomaly_mode_on_where_the_user_wants_it(
    import_in_anomaly_mode_without_ray: dict[str, Any],
) -> None:
    assert import_in_anomaly_mode_without_ray["anomaly"] is True


def test_import_works_without_ray(import_in_anomaly_mode_without_ray: dict[str, Any]) -> None:
    assert import_in_anomaly_mode_without_ray["runs"] is True


def test_import_gives_no_lasting_permission_to_unpickle(import_in_anomaly_mode_without_ray: dict[str, Any]) -> None:
    assert import_in_anomaly_mode_without_ray["unpickle"] is None


def test_import_restores_the_names_that_recbole_takes_from_numpy(
    import_in_anomaly_mode_without_ray: dict[str, Any],
) -> None:
    assert import_in_anomaly_mode_without_ray["float"] == "float64"


# activations


@pytest.mark.parametrize("module", [layers, fearec])
def test_gelu_is_the_formula_of_recbole_in_one_kernel(module: Any) -> None:
    layer = module.FeedForward(3, 4, 0.0, "gelu", 1e-12)
    hidden = torch.linspace(-6, 6, 49, requires_grad=True)
    activated = layer.intermediate_act_fn(hidden)
    assert type(activated.grad_fn).__name__ == "GeluBackward0"
    assert torch.allclose(activated, hidden / 2 * (1 + torch.erf(hidden / 2**0.5)), rtol=0, atol=1e-6)


# versions


@pytest.mark.parametrize(
    ("package", "version", "cure"),
    [
        ("pandas", "3.0.1", r"pandas 3\.0\.1 .*pip install 'pandas<3'"),
        ("recbole", "1.2.0", r"recbole 1\.2\.0 .*pip install --no-deps recbole==1\.2\.1"),
        ("recbole", "1.3.0", r"recbole 1\.3\.0 .*pip install --no-deps recbole==1\.2\.1"),
    ],
)
def test_version_that_corrupts_is_refused_with_its_cure(
    monkeypatch: pytest.MonkeyPatch, package: str, version: str, cure: str
) -> None:
    installed = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: version if name == package else installed(name))
    with pytest.raises(ImportError, match=cure) as refused:
        compatibility.apply()
    assert "\n" not in str(refused.value)


def test_applying_twice_changes_nothing() -> None:
    def patched() -> list[object]:
        return [
            SequentialDataset._change_feat_format,
            Trainer.evaluate,
            Trainer.resume_checkpoint,
            recbole.quick_start.load_data_and_model,
            recbole.quick_start.run_recboles,
            run_recboles.of_recbole,
            Config._init_device,
            Collector.get_data_struct,
            layers.FeedForward.gelu,
            sys.modules.get("ray"),
            torch.is_anomaly_enabled(),
        ]

    before = patched()
    compatibility.apply()
    assert all(now is then for now, then in zip(patched(), before, strict=True))
