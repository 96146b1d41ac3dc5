"""Planted latent categories: Stage 1 finds them, Stage 2 carries them, and the gated model uses them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recbole_tslrec.augmentation.knowledge_export import encode_items, prepare_for_export
from recbole_tslrec.data.dataset import Data
from recbole_tslrec.data.groupings import Grouping
from recbole_tslrec.data.histories import Histories
from recbole_tslrec.reconstruction.grouping import group_items
from recbole_tslrec.reconstruction.settings import ReconstructionSettings
from recbole_tslrec.reconstruction.targets import preference_targets
from recbole_tslrec.reconstruction.task import loss_of_mean_target, reconstruction_task
from recbole_tslrec.sft.trainer import SFTTrainer
from recbole_tslrec.training.recommender import evaluate_recommender, load_trainer, train_recommender
from tests.planted import plant, separated_rows

USERS, ITEMS, CATEGORIES, LENGTH = 800, 300, 6, 10


@pytest.mark.parametrize(("target_view", "share"), [("own", 0.2), ("rest", 0.8)])  # what others have is chance in part
def test_stage_1_learns_the_preferences_and_the_export_names_the_groups(
    make_config: Callable[..., Any], tmp_path: Path, target_view: str, share: float
) -> None:
    planted = plant(USERS, ITEMS, CATEGORIES, LENGTH)
    items = np.array([int(item[1:]) + 1 for _, item, _ in planted.interactions])
    histories = Histories([f"u{u}" for u in range(USERS)], items, np.arange(USERS + 1) * LENGTH)
    rows = separated_rows(planted.category, 16)
    groups, _ = group_items(rows, CATEGORIES, seed=0)
    targets = preference_targets(histories, groups, CATEGORIES)

    config = make_config(
        group_count=CATEGORIES,
        scratch_hidden_size=32,
        scratch_layers=2,
        scratch_intermediate_size=64,
        prompt_instruction="Predict.",
        sft_epochs=10,  # the learning rate falls to zero: with fewer, one-item prompts lag behind
        sft_learning_rate=3e-3,
        sft_batch_size=16,
        sft_valid_ratio=0.1,
        target_view=target_view,
        seed=0,
    )
    settings = ReconstructionSettings.of(config)
    with_pad = torch.cat([torch.zeros(1, 16), rows])
    task = reconstruction_task(settings, histories, targets, Grouping(groups, CATEGORIES), with_pad)
    network = task.network()
    loss, _ = SFTTrainer(settings.engine, task, network, tmp_path / "sft").fit(task.train, task.valid, verbose=False)
    assert loss < share * loss_of_mean_target(task.train.in_epoch(0), task.valid, task.objective)

    prepare_for_export(network, torch.float32)
    _, categories = encode_items(network, rows)
    assert (categories.argmax(dim=1) == groups).float().mean() >= 0.9


@pytest.mark.slow
def test_knowledge_that_carries_the_categories_beats_base_and_random_vectors_do_not(
    make_config: Callable[..., Any], make_knowledge: Callable[..., Any], tmp_path: Path
) -> None:
    """NDCG@10 on held-out items over five seeds; about eight training interactions an item."""
    planted = plant(users=800, items=600, categories=12, length=8)
    settings = {"hidden_size": 16, "embedding_size": 16, "train_batch_size": 512, "epochs": 15, "learning_rate": 0.01}
    data = Data(make_config("GRU4Rec", planted.interactions, **settings))
    train_data, valid_data, test_data = data.loaders
    tokens = data.item_tokens
    rows = {
        "planted": separated_rows(planted.category, 16)[torch.from_numpy(planted.item_rows(tokens))],
        "random": torch.randn(len(tokens), 16, generator=torch.Generator().manual_seed(0)),
    }
    paths = {name: str(make_knowledge(tokens, table).folder) for name, table in rows.items()}

    ndcg: dict[str, list[float]] = {"base": [], "planted": [], "random": []}
    for seed in range(5):
        for name, values in ndcg.items():
            model = "GRU4Rec" if name == "base" else "TSLRecGRU4Rec"
            config = make_config(model, planted.interactions, seed=seed, knowledge_path=paths.get(name), **settings)
            folder = tmp_path / f"{name}-{seed}"
            folder.mkdir()
            train_recommender(config, train_data, valid_data, folder)
            trainer = load_trainer(config, train_data, folder)
            values.append(evaluate_recommender(trainer, test_data)["ndcg@10"])

    mean = {name: np.mean(values) for name, values in ndcg.items()}
    error = np.sqrt((np.var(ndcg["base"], ddof=1) + np.var(ndcg["random"], ddof=1)) / 5)  # of the difference of means
    assert mean["planted"] > 1.5 * mean["base"], ndcg
    assert abs(mean["random"] - mean["base"]) < 3 * error, ndcg
