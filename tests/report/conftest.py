"""Outcomes of trials made by hand, since no report needs trained models to be tested."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from recbole_tslrec.evaluation.per_user import UserResults, write_users
from recbole_tslrec.experiments.command import Command
from recbole_tslrec.experiments.trials import Outcome, Trial
from recbole_tslrec.store.artifacts import Recipe, Store, write_item_table
from recbole_tslrec.store.files import write_json
from tests.results import stages_of


@pytest.fixture
def toy_command(tmp_path: Path) -> Command:
    """Reports of SASRec on a dataset called toy; its files are in ``tmp_path/data/toy``."""
    settings = (f"--data_path={tmp_path / 'data'}",)
    return Command(("toy",), ("SASRec",), (1,), ("Base", "CI", "TSLRec"), tmp_path / "reports", settings=settings)


@pytest.fixture
def make_outcome(tmp_path: Path) -> Callable[..., Outcome]:
    """``make_outcome(trial, {stage: (item tokens, {name: tensor})})``: an outcome with these artifacts."""

    def make(trial: Trial, stages: Mapping[str, tuple[list[str], dict[str, torch.Tensor]]]) -> Outcome:
        store = Store(tmp_path / "artifacts" / trial.dataset)
        folders = {}
        for stage, (tokens, tensors) in stages.items():
            recipe = Recipe({"trial": str(trial), "tensors": str(tensors)})
            artifact = store.build(
                stage, recipe, lambda folder, tokens=tokens, tensors=tensors: write_item_table(folder, tokens, tensors)
            )
            folders[stage] = str(artifact.folder)
        return Outcome(trial, {"stages": stages_of(folders)})

    return make


@pytest.fixture
def make_evaluated(tmp_path: Path) -> Callable[..., Outcome]:
    """``make_evaluated(trial, lengths, popularity, ndcg, fingerprint=...)``: an outcome with results by user.

    The users are u0, u1, ... and hit@10 is 1 where ndcg@10 is above 0, in every mode; the metrics are their means.
    """

    def make(
        trial: Trial, lengths: list[int], popularity: list[int], ndcg: list[float], fingerprint: str = "same"
    ) -> Outcome:
        columns = {
            "user_id": [f"u{user}" for user in range(len(ndcg))],
            "item_id": [f"i{user}" for user in range(len(ndcg))],
            "sequence_length": np.array(lengths),
            "target_popularity": np.array(popularity),
            "repeat": np.zeros(len(ndcg), dtype=bool),
        }
        for mode in ("unmasked", "keep_target", "strict"):
            columns[f"rank_{mode}"] = np.ones(len(ndcg), dtype=np.int64)
            columns[f"ndcg@10_{mode}"] = np.array(ndcg, dtype=np.float32)
            columns[f"hit@10_{mode}"] = (np.array(ndcg) > 0).astype(np.float32)
        about = {"dataset": trial.dataset, "fingerprint": fingerprint, "model": trial.model, "row": trial.row}
        about |= {"seed": trial.seed, "part": "test", "topk": [10], "items": 9}
        folder = tmp_path / "evaluations" / trial.dataset / trial.name
        folder.mkdir(parents=True)
        users = UserResults(pd.DataFrame(columns), about)
        write_users(folder / "test_users.parquet", users)
        means = {
            mode: {metric: float(columns[f"{metric}_{mode}"].mean()) for metric in ("hit@10", "ndcg@10")}
            for mode in users.modes
        }
        write_json(folder / "metrics.json", {"valid": means, "test": means})
        return Outcome(trial, {"stages": stages_of({f"evaluation of {trial.row}": str(folder)})})

    return make
