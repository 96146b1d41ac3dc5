"""Stage 1 as a whole: from targets and stage-0 rows to a fine-tuned network, and back from its artifact."""

import shutil
from logging import getLogger
from pathlib import Path
from typing import Any

import torch
from recbole.utils import init_seed
from torch import Tensor

from recbole_tslrec import distributed
from recbole_tslrec.artifacts import Artifact, open_artifact, rows_of_tokens
from recbole_tslrec.augmentation.knowledge import dataset_item_tokens
from recbole_tslrec.config import derive
from recbole_tslrec.llm.cost import plan_memory
from recbole_tslrec.llm.loading import context_length, load_llm_config
from recbole_tslrec.reconstruction.checkpoint import embedding_size, load_trained_weights
from recbole_tslrec.reconstruction.estimate import estimate_epoch
from recbole_tslrec.reconstruction.examples import UserExamples
from recbole_tslrec.reconstruction.histories import Histories, hold_out_users
from recbole_tslrec.reconstruction.network import ReconstructionNetwork, build_network, configured_prompt
from recbole_tslrec.reconstruction.resume import STEP_CHECKPOINTS, latest_step_checkpoint
from recbole_tslrec.reconstruction.trainer import CHECKPOINT, SFTTrainer


def fine_tune_users(
    config: Any, targets_folder: Path, dataset: Any, item_embeddings: Tensor, folder: Path
) -> dict[str, Any]:
    """Train the network on the users of a ``targets`` artifact and leave the best epoch in ``folder/checkpoint``.

    Args:
        config: with the ``llm_``, ``lora_``, ``prompt_`` and ``sft_`` keys.
        targets_folder: a ``targets`` artifact.
        dataset: the RecBole dataset whose item ids ``item_embeddings`` follows.
        item_embeddings: the frozen stage-0 rows, [N + 1, d].
        folder: an existing folder.

    Returns:
        The best validation loss beside that of the mean target, which ignores the user.
    """
    histories, targets = load_targets(targets_folder, dataset)
    train_users, valid_users = hold_out_users(len(histories), config["sft_valid_ratio"], config["seed"])
    shared = histories, targets, prompt_items(config, histories)
    train_data, valid_data = (
        UserExamples(*shared, users, config["sft_batch_size"], config["seed"]) for users in (train_users, valid_users)
    )
    prompt, llm_config = configured_prompt(config), load_llm_config(config)
    longest = len(prompt.instruction) + len(prompt.response) + int(train_data.item_counts.max())
    plan = plan_memory(config, llm_config, longest)
    estimate = estimate_epoch(config, llm_config, prompt, train_data, plan)
    init_seed(config["seed"], config["reproducibility"])
    network = build_network(config, item_embeddings)
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
    mean_target = targets[train_users].mean(dim=0)
    mean_target_loss = float((targets[valid_users] - mean_target).square().sum(dim=1).mean())
    getLogger().info(f"SFT validation loss {best_loss:.4f}; the mean target has {mean_target_loss:.4f}")
    return {
        "valid": best_result,
        "mean_target_loss": mean_target_loss,
        "estimate": estimate,
        "epochs": len(trainer.train_loss_dict),
        "train_users": len(train_users),
        "valid_users": len(valid_users),
    }


def load_fine_tuned(config: Any, sft_folder: Path) -> ReconstructionNetwork:
    """The network of an ``sft`` artifact, without its table of items; the artifact's own settings decide, but for the
    device and the layout.
    """
    artifact: Artifact = open_artifact(sft_folder, "sft")
    settings = {key: value for key, value in artifact.manifest["settings"].items() if key != "llm_files"}
    checkpoint = artifact.folder / CHECKPOINT
    network = build_network(derive(config, **settings), torch.zeros(2, embedding_size(checkpoint)))
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
    configured_prompt(config).max_items(context_length(load_llm_config(config)))


def prompt_items(config: Any, histories: Histories) -> int:
    """How many of a user's most recent items a prompt takes: ``prompt_max_items``, or what the LLM's context holds."""
    wanted = int(config["prompt_max_items"] or config["MAX_ITEM_LIST_LENGTH"])
    room = configured_prompt(config).max_items(context_length(load_llm_config(config)))
    longest = min(wanted, int(histories.lengths.max()))
    if longest > room:
        getLogger().warning(
            f"the LLM's context holds {room} items; longer histories (up to {longest}) are cut to the most recent"
        )
    return min(wanted, room)
