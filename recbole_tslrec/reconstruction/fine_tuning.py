"""Stage 1 as a whole: from targets and stage-0 rows to a fine-tuned network, and back from its artifact."""

from logging import getLogger
from pathlib import Path
from typing import Any

import torch
from recbole.utils import init_seed
from torch import Tensor

from recbole_tslrec.artifacts import Artifact, open_artifact, rows_of_tokens
from recbole_tslrec.augmentation.knowledge import dataset_item_tokens
from recbole_tslrec.config import derive
from recbole_tslrec.llm.loading import context_length, load_llm_config
from recbole_tslrec.reconstruction.checkpoint import load_trained_weights
from recbole_tslrec.reconstruction.histories import Histories, hold_out_users
from recbole_tslrec.reconstruction.network import ReconstructionNetwork, build_network, configured_prompt
from recbole_tslrec.reconstruction.trainer import CHECKPOINT, SFTTrainer, UserExamples


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
    examples = UserExamples(histories, targets, prompt_items(config, histories))
    train_users, valid_users = hold_out_users(len(histories), config["sft_valid_ratio"], config["seed"])
    init_seed(config["seed"], config["reproducibility"])
    network = build_network(config, item_embeddings)
    trainer = SFTTrainer(derive(config, checkpoint_dir=str(folder)), network)
    best_loss, best_result = trainer.fit(
        examples.loader(train_users, config["sft_batch_size"], config["seed"]),
        examples.loader(valid_users, config["sft_batch_size"]),
        show_progress=config["show_progress"],
    )
    trainer.tensorboard.close()
    mean_target = targets[train_users].mean(dim=0)
    mean_target_loss = float((targets[valid_users] - mean_target).square().sum(dim=1).mean())
    getLogger().info(f"SFT validation loss {best_loss:.4f}; the mean target has {mean_target_loss:.4f}")
    return {
        "valid": best_result,
        "mean_target_loss": mean_target_loss,
        "epochs": len(trainer.train_loss_dict),
        "train_users": len(train_users),
        "valid_users": len(valid_users),
    }


def load_fine_tuned(config: Any, item_embeddings: Tensor, sft_folder: Path) -> ReconstructionNetwork:
    """The network of an ``sft`` artifact; the artifact's own settings decide, but for the device."""
    artifact: Artifact = open_artifact(sft_folder, "sft")
    settings = {key: value for key, value in artifact.manifest["settings"].items() if key != "llm_files"}
    network = build_network(derive(config, **settings), item_embeddings)
    load_trained_weights(network, artifact.folder / CHECKPOINT)
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
