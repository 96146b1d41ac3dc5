"""Stage 1 as a whole: from targets and stage-0 rows to a fine-tuned network, and back from its artifact."""

import shutil
from dataclasses import replace
from logging import getLogger
from pathlib import Path
from typing import Any

import numpy as np
import torch
from recbole.utils import init_seed
from torch import Tensor

from recbole_tslrec import distributed
from recbole_tslrec.artifacts import Artifact, open_artifact, rows_of_tokens
from recbole_tslrec.augmentation.knowledge import dataset_item_tokens, load_groupings
from recbole_tslrec.config import PAPER_TASK, derive
from recbole_tslrec.llm.cost import plan_memory
from recbole_tslrec.llm.item_text import MOST_TEXT_TOKENS, ItemText, text_columns
from recbole_tslrec.llm.loading import context_length, load_llm_config
from recbole_tslrec.reconstruction.checkpoint import embedding_size, load_trained_weights
from recbole_tslrec.reconstruction.estimate import estimate_epoch
from recbole_tslrec.reconstruction.examples import UserExamples
from recbole_tslrec.reconstruction.histories import Histories, hold_out_users
from recbole_tslrec.reconstruction.network import (
    ReconstructionNetwork,
    build_network,
    configured_item_text,
    configured_prompt,
    task_errors,
)
from recbole_tslrec.reconstruction.resume import STEP_CHECKPOINTS, latest_step_checkpoint
from recbole_tslrec.reconstruction.trainer import CHECKPOINT, SFTTrainer


def fine_tune_users(
    config: Any, targets_folder: Path, groups_folder: Path, dataset: Any, item_embeddings: Tensor, folder: Path
) -> dict[str, Any]:
    """Train the network on the users of a ``targets`` artifact and leave the best epoch in ``folder/checkpoint``.

    Args:
        config: with the ``llm_``, ``lora_``, ``prompt_`` and ``sft_`` keys.
        targets_folder: a ``targets`` artifact.
        groups_folder: the ``groups`` artifact that it was made from.
        dataset: the RecBole dataset whose item ids ``item_embeddings`` follows.
        item_embeddings: the frozen stage-0 rows, [N + 1, d].
        folder: an existing folder.

    Returns:
        The best validation loss beside that of the mean target, which ignores the user.
    """
    histories, targets = load_targets(targets_folder, dataset)
    item_text = configured_item_text(config, dataset_item_tokens(dataset))
    examples = UserExamples(
        histories,
        targets,
        prompt_items(config, histories, item_text),
        np.arange(len(histories)),
        config["sft_batch_size"],
        config["seed"],
        load_groupings(groups_folder, dataset) if config["target_view"] == "rest" else None,
        None if item_text is None else item_text.counts.numpy() + 1,
    )
    train_data, valid_data = split_users(examples, config["sft_valid_ratio"])
    prompt, llm_config = configured_prompt(config), load_llm_config(config)
    longest = len(prompt.instruction) + len(prompt.response) + int(train_data.token_counts.max())
    plan = plan_memory(config, llm_config, longest)
    estimate = estimate_epoch(config, llm_config, prompt, train_data, plan)
    init_seed(config["seed"], config["reproducibility"])
    network = build_network(config, item_embeddings, item_text)
    if plan.checkpoint_activations:
        network.encoder.checkpoint_activations()
    trainer = SFTTrainer(derive(config, checkpoint_dir=str(folder)), network, plan.tokens_per_batch)
    interrupted = latest_step_checkpoint(folder)
    if interrupted is not None:
        trainer.resume_checkpoint(str(interrupted))
    best_loss, best_result = trainer.fit(train_data, valid_data, show_progress=config["show_progress"])
    trainer.tensorboard.close()
    if distributed.is_main():
        shutil.rmtree(folder / STEP_CHECKPOINTS, ignore_errors=True)
    mean_target_loss = loss_of_mean_target(train_data.in_epoch(0), valid_data, network.group_counts, config["sft_loss"])
    getLogger().info(f"SFT validation loss {best_loss:.4f}; the mean target has {mean_target_loss:.4f}")
    return {
        "valid": best_result,
        "mean_target_loss": mean_target_loss,
        "estimate": estimate,
        "epochs": len(trainer.train_loss_dict),
        "train_users": len(train_data),
        "valid_users": len(valid_data),
    }


def split_users(examples: UserExamples, valid_ratio: float) -> tuple[UserExamples, UserExamples]:
    """The examples to train on, and those to choose the epoch by, whose views are the same in every epoch.

    With ``target_view: rest`` users with a single training interaction are left out: nothing remains to predict.

    Raises:
        ValueError: no user is left to train on, or to choose the epoch by.
    """
    parts = hold_out_users(len(examples), valid_ratio, examples.seed)
    if examples.rest_groupings is not None:
        lengths = examples.histories.lengths
        left_out = int((lengths < 2).sum())
        if left_out:
            getLogger().info(f"target_view rest: {left_out} users with one training interaction are left out")
        train_users, valid_users = (users[lengths[users] > 1] for users in parts)
        parts = train_users, valid_users
        if not all(map(len, parts)):
            raise ValueError(
                f"target_view [rest] needs users with two training interactions; {len(train_users)} are left to train "
                f"on and {len(valid_users)} to choose the epoch by; set --target_view=own or --sft_valid_ratio"
            )
    train, valid = (replace(examples, users=users) for users in parts)
    return train, valid.in_epoch(0)


def loss_of_mean_target(train: UserExamples, valid: UserExamples, group_counts: list[int], loss: str) -> float:
    """The validation loss of a prediction that ignores the user: the mean target of the training users.

    A group that none of them has gets a share of about 1e-7, so that the loss ``kl`` is finite.
    """
    mean = train.targets[train.users].mean(dim=0)  # [sum of K]
    targets = valid.targets[valid.users]
    if loss == "mse":  # without the way through logits, whose rounding would show
        return float((targets - mean).square().sum(dim=1).mean()) / len(group_counts)
    logits = mean.clamp(min=1e-7).log().expand_as(targets)
    return float(task_errors(logits, targets, group_counts, loss).mean())


def load_fine_tuned(config: Any, sft_folder: Path, item_text: ItemText | None = None) -> ReconstructionNetwork:
    """The network of an ``sft`` artifact, without its table of items; the artifact's own settings decide, but for the
    device and the layout.

    Args:
        config: with the device and the layout.
        sft_folder: the artifact.
        item_text: of the items that are to be exported, if the prompt has it.
    """
    artifact: Artifact = open_artifact(sft_folder, "sft")
    facts = ("llm_files", "item_text")  # in the recipe beside the settings
    settings = {key: value for key, value in artifact.manifest["settings"].items() if key not in facts}
    checkpoint = artifact.folder / CHECKPOINT
    network = build_network(
        derive(config, **{**PAPER_TASK, **settings}), torch.zeros(2, embedding_size(checkpoint)), item_text
    )
    load_trained_weights(network, checkpoint)
    return network


def load_targets(folder: Path, dataset: Any) -> tuple[Histories, Tensor]:
    """The histories, in the item ids of ``dataset``, and the targets [U, K] of a ``targets`` artifact."""
    artifact = open_artifact(folder, "targets")
    tensors = artifact.tensors()
    table_tokens = artifact.item_tokens()
    id_of_row = torch.empty(len(table_tokens), dtype=torch.int64)
    id_of_row[rows_of_tokens(table_tokens, dataset_item_tokens(dataset), folder)] = torch.arange(1, dataset.item_num)
    items = id_of_row[tensors["items"] - 1]
    histories = Histories(artifact.json("user_tokens.json"), items.numpy(), tensors["offsets"].numpy())
    return histories, tensors["preference_target"]


def check_prompt(config: Any) -> None:
    """Refuse a prompt that leaves no room for an item in the LLM's context.

    Raises:
        ValueError: says how much it needs.
    """
    longest_text = MOST_TEXT_TOKENS if text_columns(config) else 0
    configured_prompt(config).max_items(context_length(load_llm_config(config)), longest_text)


def prompt_items(config: Any, histories: Histories, item_text: ItemText | None = None) -> int:
    """How many of a user's most recent items a prompt takes: ``prompt_max_items``, or what the LLM's context holds.

    With texts it holds as many items as would all have the longest one, so that any items of a user fit.
    """
    wanted = int(config["prompt_max_items"] or config["MAX_ITEM_LIST_LENGTH"])
    longest_text = 0 if item_text is None else item_text.longest
    room = configured_prompt(config).max_items(context_length(load_llm_config(config)), longest_text)
    longest = min(wanted, int(histories.lengths.max()))
    if longest > room:
        getLogger().warning(
            f"the LLM's context holds {room} items; longer histories (up to {longest}) are cut to the most recent"
        )
    return min(wanted, room)
