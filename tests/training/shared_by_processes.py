"""Run by several processes, or imported by one: recommenders trained and ranked, without dropout."""

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recbole_tslrec.augmentation.knowledge import Knowledge
from recbole_tslrec.compute import distributed
from recbole_tslrec.data.dataset import Data
from recbole_tslrec.evaluation.held_out import PARTS, held_out
from recbole_tslrec.evaluation.trained_model import rank_held_out
from recbole_tslrec.store.files import write_json
from recbole_tslrec.training import recommender
from tests.conftest import small_config, walks

WITHOUT_DROPOUT = {"attn_dropout_prob": 0.0, "hidden_dropout_prob": 0.0, "dropout_prob": 0.0}
# 41 users of 12 interactions: 369 targets to train on, so that the last step of an epoch has an odd one
QUICK = {**WITHOUT_DROPOUT, "epochs": 3, "learning_rate": 0.01, "eval_batch_size": 24, "worker": 0}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "all positions": ("SASRec", {"train_mode": "all_positions"}),
    "prefixes": ("FMLPRec", {}),
    "fused table": ("TSLRecSASRec", {"train_mode": "prefix"}),
    "sparse rows": ("TSLRecSASRec", {"loss_type": "sampled_softmax", "loss_negatives": 8, "epochs": 1}),
    "drawn negatives": (
        "SASRec",
        {"loss_type": "BPR", "train_neg_sample_args": {"distribution": "uniform", "sample_num": 1}, "epochs": 1},
    ),
    "masked places": ("BERT4Rec", {"epochs": 1}),
    "rows that meet": ("TransRec", {"train_neg_sample_args": {"distribution": "uniform", "sample_num": 1}}),
}


def train_all(folder: Path) -> None:
    """Leave weights, results and ranks of every case in ``folder/<case>``."""
    recommender.SPARSE_FROM = 1  # else a table would have to be large
    for name, (model, keys) in CASES.items():
        own = folder / name
        own.mkdir(parents=True, exist_ok=True)
        data_folder = folder / f"data{distributed.process_rank()}"
        config = small_config(data_folder, model, walks(users=41), **{**QUICK, **keys})
        data = Data(config)
        fused = _knowledge(len(data.item_tokens)) if model.startswith("TSLRec") else None
        report = recommender.train_recommender(config, *data.loaders[:2], own, fused, own / "work")
        distributed.wait_for_everyone()
        share = distributed.own_share()
        trainer = recommender.load_trainer(config, data.loaders[0], own, fused, share)
        ranks = {part: rank_held_out(trainer.model, held_out(data, part), share=share) for part in PARTS}
        metrics = recommender.evaluate_recommender(trainer, data.loaders[2])
        if distributed.is_main():
            arrays = {f"{part} {kind}": values for part in PARTS for kind, values in vars(ranks[part]).items()}
            np.savez(own / "ranks.npz", **arrays)
            write_json(own / "report.json", {**report, "test": metrics})


def _knowledge(items: int) -> Knowledge:
    rows = torch.randn(items + 1, 6, generator=torch.Generator().manual_seed(0))
    rows[0] = 0
    return Knowledge(rows, rows.any(dim=1))


if __name__ == "__main__":
    os.chdir(sys.argv[1])
    distributed.join("cpu")
    train_all(Path(sys.argv[1]))
    distributed.leave()
