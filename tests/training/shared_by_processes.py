"""Run by several processes, or imported by one: recommenders trained and ranked, without dropout."""

import contextlib
import os
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch

from recbole_tslrec.augmentation.knowledge import Knowledge
from recbole_tslrec.compute import distributed
from recbole_tslrec.compute.divergence import TrainingDiverged
from recbole_tslrec.data.dataset import Data
from recbole_tslrec.evaluation.held_out import PARTS, held_out
from recbole_tslrec.evaluation.history_modes import UNMASKED
from recbole_tslrec.evaluation.trained_model import rank_held_out
from recbole_tslrec.store.files import write_json
from recbole_tslrec.store.step_checkpoints import Clock
from recbole_tslrec.training import recommender
from tests.conftest import small_config, walks

WITHOUT_DROPOUT = {"attn_dropout_prob": 0.0, "hidden_dropout_prob": 0.0, "dropout_prob": 0.0}
# 41 users with 9 prefixes each: the 369 rows leave 49 for the last of six steps, which two processes cannot halve
QUICK = {**WITHOUT_DROPOUT, "learning_rate": 0.01, "eval_batch_size": 24}
DRAWN = {"train_neg_sample_args": {"distribution": "uniform", "sample_num": 1}}
KILLED = "all positions"  # it is trained a second time, interrupted
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    KILLED: ("SASRec", {"train_mode": "all_positions", "epochs": 3, "average_weights": True}),
    "prefixes": ("FMLPRec", {"epochs": 2, "valid_history": "keep_target"}),
    "fused table": ("TSLRecSASRec", {"train_mode": "prefix", "epochs": 2}),
    "sparse rows": ("TSLRecSASRec", {"loss_type": "sampled_softmax", "loss_negatives": 8, "average_weights": True}),
    "drawn negatives": ("SASRec", {"loss_type": "BPR", "train_mode": "prefix", **DRAWN}),
    "masked places": ("BERT4Rec", {}),
    "unread parameters": ("NPE", {}),
    "rows that meet": ("TransRec", DRAWN),
}


class Killed(BaseException):
    """Stands for a signal: nothing in the package catches it."""


def train_all(folder: Path) -> None:
    """Leave weights, results and ranks of every case in ``folder/<case>``."""
    for name in CASES:
        train(folder, name)


def train(folder: Path, name: str, into: str = "") -> None:
    """Leave what a case gives in ``folder/<into>``, by default under its own name."""
    own = folder / (into or name)
    own.mkdir(parents=True, exist_ok=True)
    config, data, fused = _case(folder, name)
    masked = None if config["valid_history"] == UNMASKED else held_out(data, "valid")
    with mock.patch.object(recommender, "SPARSE_FROM", 1):  # else the table would have to be large
        report = recommender.train_recommender(config, *data.loaders[:2], own, fused, own / "work", masked)
    distributed.wait_for_everyone()
    share = distributed.own_share()
    trainer = recommender.load_trainer(config, data.loaders[0], own, fused, share)
    ranks = {part: rank_held_out(trainer.model, held_out(data, part), share=share) for part in PARTS}
    test = distributed.gather(recommender.evaluate_recommender(trainer, data.loaders[2]))
    reports = distributed.gather(report)
    if distributed.is_main():
        arrays = {f"{part} {kind}": values for part in PARTS for kind, values in vars(ranks[part]).items()}
        np.savez(own / "ranks.npz", **arrays)
        write_json(own / "report.json", {"trained": reports, "test": test})


def interrupt(folder: Path) -> None:
    """Leave in ``folder/interrupted`` what a training leaves that was killed in its second epoch."""
    own = folder / "interrupted"
    own.mkdir(parents=True, exist_ok=True)
    config, data, fused = _case(folder, KILLED)
    check_nan = recommender.RecommenderTrainer._check_nan

    def kill(trainer: Any, loss: torch.Tensor) -> None:
        check_nan(trainer, loss)
        if trainer.steps_done == 9:
            raise Killed

    always_due = mock.patch.object(Clock, "is_due", return_value=True)
    killed = mock.patch.object(recommender.RecommenderTrainer, "_check_nan", kill)
    with always_due, killed, contextlib.suppress(Killed):
        recommender.train_recommender(config, *data.loaders[:2], own, fused, own / "work")


def diverge(folder: Path) -> str:
    """What a process says of a loss that is no number."""
    config, data, _ = _case(folder, KILLED, learning_rate=1e30)
    try:
        recommender.train_recommender(config, *data.loaders[:2], folder)
    except TrainingDiverged as error:
        return str(error)
    return ""


def _case(folder: Path, name: str, **changes: Any) -> tuple[Any, Data, Knowledge | None]:
    model, keys = CASES[name]
    own_data = folder / f"data{distributed.process_rank()}"
    config = small_config(own_data, model, walks(users=41), **{**QUICK, **keys, **changes})
    data = Data(config)
    return config, data, _knowledge(len(data.item_tokens)) if model.startswith("TSLRec") else None


def _knowledge(items: int) -> Knowledge:
    rows = torch.randn(items + 1, 6, generator=torch.Generator().manual_seed(0))
    rows[0] = 0
    return Knowledge(rows, rows.any(dim=1))


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    os.chdir(folder)
    distributed.join("cpu")
    train_all(folder)
    train(folder, KILLED, "from one")  # one process has left something there
    interrupt(folder)
    errors = distributed.gather(diverge(folder))
    if distributed.is_main():
        write_json(folder / "errors.json", errors)
    distributed.leave()
    threads = [name.read_text().strip() for name in Path("/proc/self/task").glob("*/comm")]  # on Linux
    assert not [name for name in threads if "gloo" in name], threads
