"""Does ``train_mode: all_positions`` end as well as ``prefix``? Both to convergence, seed by seed, on one dataset.

Each run stops after ``--patience`` epochs without a better validation NDCG@10; the test metrics are those of the best
epoch, read once. Finished runs are kept in the JSON file and not made again, so a run can be stopped and gone on with.
The intervals are Student's t over seeds.
"""

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from measure import Report, arguments, say
from recbole_tslrec.configuration.config import Config
from recbole_tslrec.data.dataset import Data
from recbole_tslrec.training import recommender

MODES = ("all_positions", "prefix")
METRICS = ("hit@10", "ndcg@10")


def train(model: str, dataset: str, mode: str, seed: int, settings: dict[str, Any]) -> dict[str, Any]:
    """One run: metrics of the best epoch, the number of epochs, seconds."""
    config = Config(model, dataset, [], {**settings, "train_mode": mode, "seed": seed})
    train_data, valid_data, test_data = Data(config).loaders
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        report = recommender.train_recommender(config, train_data, valid_data, Path(name))
        seconds = time.perf_counter() - started
        trainer = recommender.load_trainer(config, train_data, Path(name))
        test = recommender.evaluate_recommender(trainer, test_data)
    found = {f"test {metric}": test[metric] for metric in METRICS}
    return {
        "mode": mode,
        "seed": seed,
        "epochs": report["epochs"],
        "seconds": seconds,
        "valid ndcg@10": report["valid"]["ndcg@10"],
        **found,
    }


def summary(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Mean and half width of the 95% interval over the seeds of each mode."""
    rows = []
    for mode in MODES:
        row: dict[str, Any] = {"mode": mode, "seeds": sum(run["mode"] == mode for run in runs)}
        for metric in METRICS:
            values = np.array([run[f"test {metric}"] for run in runs if run["mode"] == mode])
            if len(values) > 1:
                row[metric] = values.mean()
                row[f"{metric} +-"] = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5
        rows.append(row)
    return rows


def main() -> None:
    """Run what is missing and print the table after every run."""
    parser = arguments(__doc__)
    parser.add_argument("--model", default="SASRec")
    parser.add_argument("--dataset", default="beauty")
    parser.add_argument("--data_path", default="dataset")
    parser.add_argument("--length", type=int, default=50, help="MAX_ITEM_LIST_LENGTH")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--patience", type=int, default=10)
    given = parser.parse_args()
    settings = {"data_path": given.data_path, "MAX_ITEM_LIST_LENGTH": given.length, "train_batch_size": 1024}
    settings |= {"stopping_step": given.patience, "epochs": 1 if given.quick else 200}
    report = Report(f"convergence, {given.model} on {given.dataset}, length {given.length}", given.json)
    title = "runs"
    if given.json and given.json.exists():
        report.tables[title] = json.loads(given.json.read_text())["tables"][title]
    runs = report.tables.setdefault(title, [])
    for seed in given.seeds:
        for mode in MODES:
            if any((run["seed"], run["mode"]) == (seed, mode) for run in runs):
                continue
            say(f"{given.model} on {given.dataset}, {mode}, seed {seed}")
            report.add_table(title, [*runs, train(given.model, given.dataset, mode, seed, settings)])
            runs = report.tables[title]
            report.add_table("mean over seeds, 95% interval", summary(runs))


if __name__ == "__main__":
    sys.exit(main())
