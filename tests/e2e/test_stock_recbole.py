"""Base, trained by us, is stock RecBole's own run to the last digit."""

import json
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import pytest

from recbole_tslrec.pipeline import run_stages

# A fresh process that never imports recbole_tslrec. RecBole needs the variable to load its own checkpoint.
STOCK = """
import json, os, sys
os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = "1"
settings = json.loads(sys.argv.pop())
from recbole.quick_start import run_recbole
results = {model: run_recbole(model, "toy", config_dict=settings) for model in ("SASRec", "GRU4Rec", "Caser")}
assert "recbole_tslrec" not in sys.modules
print("RESULT", json.dumps({m: [dict(r["best_valid_result"]), dict(r["test_result"])] for m, r in results.items()}))
"""


@pytest.fixture(scope="module")
def stock_results() -> dict[str, Any]:
    return {}


@pytest.mark.skipif(find_spec("ray") is None, reason="stock RecBole cannot be imported without ray")
@pytest.mark.parametrize("model", ["SASRec", "GRU4Rec", "Caser"])
def test_base_equals_stock_recbole(make_config: Callable[..., Any], stock_results: dict[str, Any], model: str) -> None:
    """On small integer times, whose order stock RecBole keeps."""
    config = make_config(model, epochs=3, metric_decimal_place=12, train_mode="prefix")
    if not stock_results:
        shared = ("load_col", "MAX_ITEM_LIST_LENGTH", "hidden_size", "embedding_size", "inner_size", "epochs", "topk")
        training = ("train_batch_size", "learning_rate", "stopping_step", "eval_batch_size")
        settings = {key: config[key] for key in (*shared, *training, "metrics", "valid_metric")}
        settings |= {"data_path": config["data_path"].rpartition("/")[0], "metric_decimal_place": 12}
        settings |= {"train_neg_sample_args": None, "show_progress": False, "gpu_id": ""}  # on the CPU
        finished = subprocess.run(
            [sys.executable, "-c", STOCK, json.dumps(settings)], capture_output=True, text=True, check=False
        )
        assert finished.returncode == 0, finished.stderr[-2000:]
        line = next(line for line in finished.stdout.splitlines() if line.startswith("RESULT"))
        stock_results.update(json.loads(line.removeprefix("RESULT")))
    metrics = run_stages(config).evaluations["Base"].json("metrics.json")
    assert [metrics["valid"]["unmasked"], metrics["test"]["unmasked"]] == stock_results[model]
