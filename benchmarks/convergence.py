"""Does ``train_mode: all_positions`` end as well as ``prefix``? Both to convergence, seed by seed, on one dataset.

Each mode has its own best of the given learning rates and batch sizes, by the validation NDCG@10 of the first seed; the
other seeds are trained with it. A run stops after ``--patience`` epochs without a better validation; the test metrics
are those of the best epoch, read once. Finished runs are kept in the JSON file and not made again, so the benchmark can
be stopped and gone on with. The intervals are Student's t over seeds.

The rows, their order and the loss of ``prefix`` are the package's; only here, the prefixes of a batch go through the
encoder in groups of like length, without the pads behind them, and dropout draws few random bits, as it does for
``all_positions``: neither changes anything but the random numbers.
"""

import itertools
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats

from measure import Report, arguments, say
from recbole_tslrec.configuration.config import Config
from recbole_tslrec.data.dataset import Data
from recbole_tslrec.models import sasrec
from recbole_tslrec.sequential.dropout import draw_few_bits
from recbole_tslrec.training import recommender

MODES = ("all_positions", "prefix")
METRICS = ("hit@10", "ndcg@10")
TUNED = ("learning_rate", "train_batch_size")
_GROUPS = 4  # of like length, in a batch of prefixes
_RUNS = "runs"
Run = dict[str, Any]


def train(model: str, dataset: str, settings: dict[str, Any]) -> Run:
    """One run: metrics of the best epoch, the number of epochs, seconds."""
    config = Config(model, dataset, [], settings)
    train_data, valid_data, test_data = Data(config).loaders
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        report = recommender.train_recommender(config, train_data, valid_data, Path(name))
        seconds = time.perf_counter() - started
        trainer = recommender.load_trainer(config, train_data, Path(name))
        test = recommender.evaluate_recommender(trainer, test_data)
    return {
        "epochs": report["epochs"],
        "seconds": seconds,
        "valid ndcg@10": report["valid"]["ndcg@10"],
        **{f"test {metric}": test[metric] for metric in METRICS},
    }


def without_pads(build: Callable[..., Any]) -> Callable[..., Any]:
    """``build_model`` whose models compute prefixes in groups of like length."""

    def built(*args: Any, **kwargs: Any) -> Any:
        model = build(*args, **kwargs)
        draw_few_bits(model)
        forward = model.forward

        def grouped(item_seq: torch.Tensor, item_seq_len: torch.Tensor) -> torch.Tensor:
            if not model.training or model.reads_all_positions:
                return forward(item_seq, item_seq_len)
            order = item_seq_len.argsort()  # [B]
            groups = [rows for rows in order.chunk(_GROUPS) if len(rows)]
            found = [forward(item_seq[rows, : int(item_seq_len[rows[-1]])], item_seq_len[rows]) for rows in groups]
            return torch.cat(found)[order.argsort()]  # [B, d]

        model.forward = grouped
        return model

    return built


def best_settings(runs: Iterable[Run]) -> Run:
    """The settings of the run with the best validation."""
    best = max(runs, key=lambda run: run["valid ndcg@10"])
    return {key: best[key] for key in TUNED}


def summary(runs: list[Run], seeds: list[int]) -> list[dict[str, Any]]:
    """Mean and half width of the 95% interval over the seeds of each mode, with its own best settings."""
    rows = []
    for mode in sorted({run["mode"] for run in runs}):
        of_mode = [run for run in runs if run["mode"] == mode]
        chosen = best_settings(run for run in of_mode if run["seed"] == seeds[0])
        kept = [run for run in of_mode if all(run[key] == value for key, value in chosen.items())]
        row: dict[str, Any] = {"mode": mode, **chosen, "seeds": len(kept)}
        row["epochs"] = np.mean([run["epochs"] for run in kept])
        for metric in ("valid ndcg@10", *(f"test {metric}" for metric in METRICS)):
            values = np.array([run[metric] for run in kept])
            row[metric] = values.mean()
            if len(values) > 1:
                row[f"{metric} +-"] = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5
        rows.append(row)
    return rows


def main() -> None:
    """Run what is missing and print the table of each mode."""
    parser = arguments(__doc__)
    parser.add_argument("--model", default="SASRec")
    parser.add_argument("--dataset", default="beauty")
    parser.add_argument("--data_path", default="dataset")
    parser.add_argument("--length", type=int, default=50, help="MAX_ITEM_LIST_LENGTH")
    parser.add_argument("--modes", nargs="+", default=MODES, choices=MODES)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], help="the first one chooses the settings")
    parser.add_argument("--learning_rates", type=float, nargs="+", default=[1e-3, 3e-3])
    parser.add_argument("--batch_sizes", type=int, nargs="+", default=[256, 1024])
    parser.add_argument("--patience", type=int, default=5)
    given = parser.parse_args()
    recommender.build_model = without_pads(recommender.build_model)
    sasrec.dropout_at = lambda values, module, *_: module(values)  # its own draws RecBole's numbers, of all positions
    fixed = {"data_path": given.data_path, "MAX_ITEM_LIST_LENGTH": given.length}
    fixed |= {"stopping_step": given.patience, "epochs": 1 if given.quick else 200, "show_progress": False}
    report = Report(f"convergence, {given.model} on {given.dataset}, length {given.length}", given.json)
    if given.json and given.json.exists():
        report.tables[_RUNS] = json.loads(given.json.read_text())["tables"][_RUNS]
    grid = [
        dict(zip(TUNED, values, strict=True)) for values in itertools.product(given.learning_rates, given.batch_sizes)
    ]

    def ensure(settings: Run) -> Run:
        runs = report.tables.setdefault(_RUNS, [])
        for run in runs:
            if all(run[key] == value for key, value in settings.items()):
                return run
        say(f"{given.model} on {given.dataset}, {settings}")
        mode = {"train_mode" if key == "mode" else key: value for key, value in settings.items()}
        run = {**settings, **train(given.model, given.dataset, {**fixed, **mode})}
        report.add_table(_RUNS, [*runs, run])
        return run

    for mode in given.modes:
        tuned = [ensure({"mode": mode, "seed": given.seeds[0], **point}) for point in grid]
        for seed in given.seeds[1:]:
            ensure({"mode": mode, "seed": seed, **best_settings(tuned)})
        report.add_table("own best settings: mean over seeds, 95% interval", summary(report.tables[_RUNS], given.seeds))


if __name__ == "__main__":
    sys.exit(main())
