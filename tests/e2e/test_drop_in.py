"""Stock RecBole's own entry points find and run the models."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from recbole import quick_start
from recbole.quick_start import load_data_and_model, objective_function, run_recbole
from recbole.trainer import HyperTuning
from recbole.utils import get_trainer
from recbole.utils.case_study import full_sort_scores, full_sort_topk

from recbole_tslrec.data.dataset import Data
from recbole_tslrec.models import TSLRecSASRec
from tests.conftest import walks

REPOSITORY = Path(__file__).resolve().parents[2]
USERS = 41  # odd: two processes cannot have equal shares of them
METRICS = {"hit@5", "hit@10", "ndcg@5", "ndcg@10"}

Settings = Callable[..., dict[str, Any]]


@pytest.fixture
def settings(
    make_config: Callable[..., Any], make_knowledge: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> Settings:
    """``settings(**more)``: the ``config_dict`` of a small model of this package, for stock RecBole."""
    monkeypatch.setattr("sys.argv", ["run_recbole.py"])
    monkeypatch.delenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", raising=False)

    def small(**more: Any) -> dict[str, Any]:
        config = make_config("SASRec", walks(users=USERS, length=11))
        tokens = Data(config).item_tokens
        rows = torch.randn(len(tokens), 5, generator=torch.Generator().manual_seed(0))
        shared = ("MAX_ITEM_LIST_LENGTH", "hidden_size", "embedding_size", "inner_size", "epochs", "train_batch_size")
        return {
            **{key: config[key] for key in shared},
            "data_path": str(Path(config["data_path"]).parent),
            "checkpoint_dir": "saved",
            "knowledge_path": str(make_knowledge(tokens, rows).folder),
            "show_progress": False,
            **more,
        }

    return small


def checkpoint(model: str) -> str:
    (file,) = Path("saved").glob(f"{model}-*.pth")
    return str(file)


def scores_of_test_users(file: str) -> torch.Tensor:
    """[users, N + 1], by the model of a checkpoint."""
    _, model, _, _, _, test_data = load_data_and_model(file)
    with torch.no_grad():
        return model.eval().full_sort_predict(next(iter(test_data))[0])  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", ["TSLRecSASRec", "TSLRecGRU4Rec", "P2RecCaser"])
def test_run_recbole_and_load_data_and_model(settings: Settings, name: str) -> None:
    result = run_recbole(name, "toy", config_dict=settings())
    assert set(result["test_result"]) == METRICS

    config, model, _, _, _, test_data = load_data_and_model(checkpoint(name))
    again = get_trainer(config["MODEL_TYPE"], name)(config, model).evaluate(test_data, load_best_model=False)
    assert again == result["test_result"]


def test_run_recbole_takes_the_class_for_the_name(settings: Settings) -> None:
    by_name = run_recbole("TSLRecSASRec", "toy", config_dict=settings(checkpoint_dir="by_name"))
    assert run_recbole(TSLRecSASRec, "toy", config_dict=settings()) == by_name


FRESH = """
import json, sys
if sys.argv[2] == "import":
    import recbole_tslrec
from recbole.quick_start import load_data_and_model
assert ("recbole_tslrec" in sys.modules) == (sys.argv[2] == "import")
file, sys.argv = sys.argv[1], ["x"]
_, model, _, _, _, test_data = load_data_and_model(file)
scores = model.eval().full_sort_predict(next(iter(test_data))[0])
print("\\n" + json.dumps(scores.tolist()))
"""


@pytest.mark.parametrize("imports", ["import", "without"])
def test_load_data_and_model_in_a_fresh_process(settings: Settings, imports: str) -> None:
    """With the import torch's safe loader is enough; unpickled by consent, the file imports the package itself."""
    run_recbole("TSLRecSASRec", "toy", config_dict=settings())
    paths = f"{REPOSITORY}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    if imports == "without":
        if find_spec("ray") is None or int(np.__version__.split(".")[0]) > 1:
            pytest.skip("stock RecBole cannot be imported without ray, or with numpy 2")
        environment["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = "1"
    file = checkpoint("TSLRecSASRec")
    command = [sys.executable, "-W", "ignore", "-c", FRESH, file, imports]
    finished = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert finished.returncode == 0, finished.stderr[-2000:]
    scores = torch.tensor(json.loads(finished.stdout.splitlines()[-1]))
    assert torch.allclose(scores, scores_of_test_users(file), atol=1e-6)


def test_objective_function(settings: Settings) -> None:
    result = objective_function({**settings(), "model": "TSLRecGRU4Rec", "dataset": "toy"})
    assert result["model"] == "TSLRecGRU4Rec"
    assert result["best_valid_score"] == result["best_valid_result"]["ndcg@10"]


def test_hyper_tuning(settings: Settings) -> None:
    pytest.importorskip("hyperopt")
    fixed = {**settings(), "model": "TSLRecSASRec", "dataset": "toy"}
    tuning = HyperTuning(
        lambda params, files: objective_function({**fixed, **params}, files, saved=False),
        params_dict={"choice": {"fusion_type": ["gate", "sum"]}},
    )
    tuning.run()
    assert set(tuning.params2result) == {"fusion_type:gate", "fusion_type:sum"}
    assert tuning.best_score == max(tuning.score_list)


def test_full_sort_of_the_case_study(settings: Settings) -> None:
    run_recbole("TSLRecSASRec", "toy", config_dict=settings())
    file = checkpoint("TSLRecSASRec")
    expected = scores_of_test_users(file)
    expected[:, 0] = -torch.inf
    _, model, _, _, _, test_data = load_data_and_model(file)
    users = next(iter(test_data))[0]["user_id"].numpy()
    assert torch.allclose(full_sort_scores(users, model, test_data), expected, atol=1e-6)
    top_scores, top_items = full_sort_topk(users[:3], model, test_data, k=4)
    assert top_items.tolist() == expected[:3].argsort(dim=1, descending=True)[:, :4].tolist()
    assert torch.allclose(top_scores, expected[:3].gather(1, top_items), atol=1e-6)


# What users of stock RecBole have written, in a process that imports this package and in one that does not

OWN_CODE = """
import json, sys
with_us, settings = sys.argv.pop() == "import", json.loads(sys.argv.pop())
import recbole.data.dataset, recbole.trainer
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.data.dataset import SequentialDataset
from recbole.data.interaction import Interaction
from recbole.quick_start import run_recbole
from recbole.trainer import Trainer
from torch.utils.data import DataLoader, TensorDataset

class Latest(SequentialDataset):
    def data_augmentation(self):
        super().data_augmentation()
        self.inter_feat["item_id_list"][:, 1:] = 0

class OfListColumns(Trainer):
    def fit(self, train_data, *args, **kwargs):
        rows = train_data.dataset.inter_feat
        names = ["item_id_list", "item_length", "item_id"]
        for batch in DataLoader(TensorDataset(*[rows[name] for name in names]), batch_size=64):
            self.optimizer.zero_grad()
            loss = self.model.calculate_loss(Interaction(dict(zip(names, batch))))
            loss.backward()
            self.optimizer.step()
            losses.append(loss.item())
        self._save_checkpoint(0)
        return 0, {}

def loaders(model):
    config = Config(model, "toy", config_dict=settings)
    dataset = create_dataset(config)
    kinds[model] = type(dataset).__name__
    return data_preparation(config, dataset)

def columns(rows):
    return [[name, str(rows[name].dtype), rows[name].tolist()] for name in rows.interaction]

losses, kinds = [], {}
recbole.data.dataset.STAMPDataset = Latest
if with_us:
    import recbole_tslrec
assert ("recbole_tslrec" in sys.modules) == with_us
recbole.data.dataset.NARMDataset = Latest
recbole.trainer.GRU4RecTrainer = OfListColumns
print("RESULT" + json.dumps({
    "parts": {model: [columns(part.dataset.inter_feat) for part in loaders(model)] for model in settings["models"]},
    "batches": {model: [columns(batch) for batch in loaders(model)[0]] for model in settings["models"]},
    "metrics": run_recbole("GRU4Rec", "toy", config_dict=settings)["test_result"],
    "losses": losses,
    "kinds": kinds,
}))
"""


@pytest.mark.skipif(find_spec("ray") is None, reason="stock RecBole cannot be imported without ray")
@pytest.mark.skipif(int(np.__version__.split(".")[0]) > 1, reason="stock RecBole cannot be imported with numpy 2")
def test_own_datasets_and_trainers_find_what_they_find_in_stock_recbole(settings: Settings) -> None:
    models = ["SASRec", "STAMP", "NARM"]
    small = settings(models=models, train_neg_sample_args=None)
    small |= {"load_col": {"inter": ["user_id", "item_id", "timestamp"]}}
    # RecBole alone can read its own checkpoint by consent only
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"}
    environment["PYTHONPATH"] = f"{REPOSITORY}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    found = {}
    for imports in ("import", "without"):
        command = [sys.executable, "-W", "ignore", "-c", OWN_CODE, json.dumps(small), imports]
        finished = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        assert finished.returncode == 0, finished.stderr[-2000:]
        (line,) = (line for line in finished.stdout.splitlines() if line.startswith("RESULT"))
        found[imports] = json.loads(line.removeprefix("RESULT"))
    kinds = {imports: result.pop("kinds") for imports, result in found.items()}
    assert kinds["without"] == {"SASRec": "SequentialDataset", "STAMP": "Latest", "NARM": "Latest"}
    assert kinds["import"] == {**kinds["without"], "SASRec": "PrefixDataset"}
    assert len(found["import"]["losses"]) > 3
    assert found["import"] == found["without"]


def test_recboles_s3rec_fine_tunes_from_its_first_phase(settings: Settings) -> None:
    small = settings(load_col=None, item_attribute="class", pretrain_epochs=1, save_step=1, train_neg_sample_args=None)
    lines = ["item_id:token\tclass:token_seq", *(f"i{item}\tc{item % 3} c{item % 2}" for item in range(30))]
    Path(small["data_path"], "toy", "toy.item").write_text("\n".join(lines) + "\n")
    run_recbole("S3Rec", "toy", config_dict={**small, "train_stage": "pretrain"}, saved=False)
    first_phase = {"train_stage": "finetune", "pre_model_path": checkpoint("S3Rec")}
    assert run_recbole("S3Rec", "toy", config_dict={**small, **first_phase}, saved=False)["test_result"]


# RecBole's processes, on a CPU

# all rows in one step, so that shares of a batch make the same step as the batch
WHOLE = {
    "train_mode": "prefix",
    "train_batch_size": 1000,
    "hidden_dropout_prob": 0.0,
    "attn_dropout_prob": 0.0,
    "learner": "sgd",
}


def two_processes(model: str, settings: dict[str, Any]) -> dict[str, Any]:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    result = quick_start.run(model, "toy", config_dict=settings, nproc=2, port=port)
    return result  # type: ignore[no-any-return]


def test_two_processes_train_and_rank_as_one(settings: Settings) -> None:
    whole = {**WHOLE, "epochs": 3, "learning_rate": 0.5, "metrics": ["Hit", "NDCG", "ItemCoverage"]}
    one = run_recbole("TSLRecSASRec", "toy", config_dict=settings(**whole, checkpoint_dir="one"))
    two = two_processes("TSLRecSASRec", settings(**whole))
    assert two["test_result"] == one["test_result"]
    assert two["best_valid_result"] == one["best_valid_result"]
    (file,) = map(str, Path("one").glob("*.pth"))
    assert torch.allclose(scores_of_test_users(checkpoint("TSLRecSASRec")), scores_of_test_users(file), atol=1e-5)
