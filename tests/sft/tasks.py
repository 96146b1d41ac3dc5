"""Toy tasks of the fine-tuning engine: twelve users, eight items, four groups; and the trainer of a task."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from recbole_tslrec.baselines import p5_prompts, pod_examples
from recbole_tslrec.baselines.e4srec import next_item_task
from recbole_tslrec.baselines.item_index import item_paths
from recbole_tslrec.baselines.item_vocabulary import vocabulary_of
from recbole_tslrec.baselines.llamarec import Retrieved, ranking_task
from recbole_tslrec.baselines.next_items import Instances, NextItems
from recbole_tslrec.baselines.p5 import p5_task
from recbole_tslrec.baselines.pod import pod_task
from recbole_tslrec.baselines.ranking_prompt import CANDIDATES, build_ranking_prompt
from recbole_tslrec.baselines.settings import E4SRecSettings, LlamaRecSettings, P5Settings, PODSettings
from recbole_tslrec.data.groupings import Grouping
from recbole_tslrec.data.histories import Histories
from recbole_tslrec.llm.loading import byte_level_tokenizer
from recbole_tslrec.reconstruction.settings import ReconstructionSettings
from recbole_tslrec.reconstruction.task import reconstruction_task
from recbole_tslrec.sft.settings import FineTuningSettings
from recbole_tslrec.sft.task import Task
from recbole_tslrec.sft.trainer import SFTTrainer

ROWS = torch.randn(9, 4, generator=torch.Generator().manual_seed(0))  # of eight items and the pad
USERS = [f"u{user}" for user in range(12)]
HISTORIES = Histories(USERS, np.arange(36) % 8 + 1, np.arange(13) * 3)  # 1 2 3, 4 5 6, 7 8 1, ...
UNEVEN = Histories(USERS, np.arange(42) % 8 + 1, np.cumsum([0, *range(1, 7), *range(1, 7)]))
TARGETS = torch.eye(4)[torch.arange(12) % 4]
GROUPING = Grouping(torch.arange(8) % 4, 4)

# three steps an epoch: of nine users to train on, or of twelve users' second interactions
RECONSTRUCTION = {"sft_batch_size": 4, "sft_valid_ratio": 0.25, "prompt_max_items": 2}
NEXT_ITEM = {"sft_batch_size": 4, "prompt_max_items": 2}


def reconstruction(config: Any, histories: Histories = HISTORIES) -> Task:
    """The paper's task; each user's target is one group."""
    return reconstruction_task(ReconstructionSettings.of(config), histories, TARGETS, GROUPING, ROWS)


def last_items(histories: Histories) -> NextItems:
    """Every user's last item, from those before it."""
    ends = histories.offsets[1:] - 1
    return NextItems(histories.items, histories.offsets[:-1], ends, histories.items[ends])


def next_item(config: Any, histories: Histories = HISTORIES) -> Task:
    """E4SRec's task; the next item has the next number."""
    training = histories.first(histories.lengths - 1)
    return next_item_task(E4SRecSettings.of(config), training, ROWS, last_items(histories))


def ranking(config: Any, histories: Histories = HISTORIES) -> Task:
    """LlamaRec's task: a title is a letter, and all eight items are candidates."""
    settings = LlamaRecSettings.of(config)
    prompt = build_ranking_prompt(byte_level_tokenizer(), list("abcdefgh"), 1)
    candidates = np.tile(np.arange(1, 9), (len(histories), 1))
    candidates = np.pad(candidates, ((0, 0), (0, CANDIDATES - 8)))
    last = last_items(histories)
    before = [last.items[a:b] for a, b in zip(last.starts, last.ends, strict=True)]
    training = histories.first(histories.lengths - 1)
    return ranking_task(settings, prompt, training, 8, Retrieved(before, candidates, last.target))


def generation(make: Any, kind: Any, bare: bool, config: Any, histories: Histories) -> Task:
    """The task of P5 or POD, on items that are numbered as users meet them."""
    settings = kind.of(config)
    training = histories.first(histories.lengths - 1)
    paths, texts = item_paths(settings.index, training, 8), (*p5_prompts.TEXTS, *pod_examples.TEXTS)
    vocabulary = vocabulary_of(settings.engine.llm, "sequential", paths, bare, texts)
    task: Task = make(settings, vocabulary, training, Instances(np.arange(len(histories)), last_items(histories)))
    return task


def p5(config: Any, histories: Histories = HISTORIES) -> Task:
    """P5's task: an example in one paraphrase."""
    return generation(p5_task, P5Settings, False, config, histories)


def pod(config: Any, histories: Histories = HISTORIES) -> Task:
    """POD's task: one part of each history, and a list of four candidates."""
    return generation(pod_task, PODSettings, True, config, histories)


# what a task is made by, and of which settings
TASKS: dict[str, tuple[Any, dict[str, Any]]] = {
    "own": (reconstruction, RECONSTRUCTION),
    "rest": (reconstruction, {**RECONSTRUCTION, "target_view": "rest"}),
    "E4SRec": (next_item, NEXT_ITEM),
    "LlamaRec": (ranking, {"sft_batch_size": 4, "scratch_context_length": 2048}),
    "P5": (p5, {"sft_batch_size": 4, "p5_prompts": 1, "p5_straightforward": False}),
    "POD": (pod, {"sft_batch_size": 8, "pod_segments": 1, "pod_candidates": 4}),
}
ENCODER_DECODERS = ("P5", "POD")  # the others fine-tune a decoder


def trainer_of(config: Any, task: Task, folder: Path) -> SFTTrainer:
    """The trainer of a task's untrained network."""
    settings = FineTuningSettings.of(config)
    return SFTTrainer(settings, task, task.network(), folder)


def fit(trainer: SFTTrainer, saved: bool = True) -> Any:
    """Train on the users of the trainer's task."""
    return trainer.fit(trainer.task.train, trainer.task.valid, verbose=False, saved=saved)


def trained_weights(trainer: SFTTrainer) -> dict[str, torch.Tensor]:
    """A copy of what is trained."""
    return {name: weight.detach().clone() for name, weight in trainer.model.trainable().items()}
