"""The user-level SFT: a RecBole ``Trainer`` whose examples are users and whose score is the validation loss."""

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from recbole.data.interaction import Interaction
from recbole.trainer import Trainer
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from recbole_tslrec.artifacts import beside, replace_folder
from recbole_tslrec.config import derive
from recbole_tslrec.reconstruction.checkpoint import load_trained_weights, save_trained_weights
from recbole_tslrec.reconstruction.histories import Histories
from recbole_tslrec.reconstruction.network import (
    ITEM_SEQ,
    ITEM_SEQ_LEN,
    PREFERENCE_TARGET,
    ReconstructionNetwork,
    reconstruction_loss,
)
from recbole_tslrec.training import StepwiseNanCheck, log_under

CHECKPOINT = "checkpoint"


class UserExamples(torch.utils.data.Dataset[int]):
    """One example per user: the most recent items of the history, and the preference target.

    Args:
        histories: the training part of every user.
        targets: g-bar, [U, K].
        max_items: how many of the most recent items the prompt takes.
    """

    def __init__(self, histories: Histories, targets: Tensor, max_items: int) -> None:
        self.histories = histories
        self.targets = targets
        self.max_items = max_items

    def __len__(self) -> int:
        return len(self.histories)

    def __getitem__(self, user: int) -> int:
        return user

    def collate(self, users: list[int]) -> Any:
        """Users -> an interaction with item_seq [B, L], item_seq_len [B] and preference_target [B, K]."""
        sequences = [torch.from_numpy(self.histories[user][-self.max_items :]) for user in users]
        return Interaction(
            {
                ITEM_SEQ: torch.nn.utils.rnn.pad_sequence(sequences, batch_first=True),
                ITEM_SEQ_LEN: torch.tensor([len(sequence) for sequence in sequences]),
                PREFERENCE_TARGET: self.targets[users],
            }
        )

    def loader(self, users: NDArray[np.int64], batch_size: int, seed: int | None = None) -> "DataLoader[int]":
        """Batches of the given users; in an order drawn from ``seed``, or in theirs without one."""
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        return DataLoader(
            torch.utils.data.Subset(self, users.tolist()),
            batch_size=batch_size,
            shuffle=seed is not None,
            generator=generator,
            collate_fn=self.collate,
        )


class SFTTrainer(StepwiseNanCheck, Trainer):  # type: ignore[misc]  # RecBole is untyped
    """RecBole's ``fit``, early stopping, logging and ``saved``, for Eq. 3 on users.

    A checkpoint (``saved_model_file``) is a folder with the trained weights only, see
    :mod:`recbole_tslrec.reconstruction.checkpoint`.

    Args:
        config: with the ``sft_`` keys.
        model: the network.
    """

    def __init__(self, config: Any, model: ReconstructionNetwork) -> None:
        super().__init__(
            derive(
                config,
                learner="adamw",
                epochs=config["sft_epochs"],
                learning_rate=config["sft_learning_rate"],
                weight_decay=config["sft_weight_decay"],
                clip_grad_norm={"max_norm": config["sft_clip_grad_norm"]},
                stopping_step=config["sft_stopping_step"],
                train_batch_size=config["sft_batch_size"],
                eval_step=1,
                valid_metric="loss",
                valid_metric_bigger=False,
                reg_weight=None,
                enable_amp=False,
            ),
            model,
        )
        self.saved_model_file = os.path.join(self.checkpoint_dir, CHECKPOINT)
        log_under(self, "sft")

    def _build_optimizer(self, **kwargs: Any) -> torch.optim.Optimizer:
        return super()._build_optimizer(params=list(self.model.trainable().values()), **kwargs)  # type: ignore[no-any-return]

    def _valid_epoch(self, valid_data: Any, show_progress: bool = False) -> tuple[float, dict[str, float]]:
        result = self.evaluate(valid_data, load_best_model=False, show_progress=show_progress)
        return result["loss"], result

    @torch.no_grad()
    def evaluate(
        self,
        eval_data: Any,
        load_best_model: bool = True,
        model_file: str | None = None,
        show_progress: bool = False,
    ) -> dict[str, float]:
        """The loss of Eq. 3, and ``top1``: how often the predicted favourite group is one of the target's.

        Args:
            eval_data: batches of users.
            load_best_model: whether to load the best checkpoint first.
            model_file: another checkpoint folder to load.
            show_progress: whether to show a bar.
        """
        if load_best_model:
            load_trained_weights(self.model, Path(model_file or self.saved_model_file))
        self.model.eval()
        loss = agreement = users = 0.0
        for interaction in tqdm(eval_data, desc="Evaluate users", disable=not show_progress):
            interaction = interaction.to(self.device)
            target = interaction[PREFERENCE_TARGET]
            _, predicted = self.model(interaction[ITEM_SEQ], interaction[ITEM_SEQ_LEN])
            loss += float(reconstruction_loss(predicted, target)) * len(target)
            favourite = target.gather(1, predicted.argmax(dim=1, keepdim=True)).squeeze(1)
            agreement += float((favourite == target.max(dim=1).values).sum())
            users += len(target)
        return {"loss": loss / users, "top1": agreement / users}

    def _save_checkpoint(self, epoch: int, verbose: bool = True, **kwargs: Any) -> None:
        folder = Path(kwargs.get("saved_model_file", self.saved_model_file))
        partial = beside(folder, "partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        save_trained_weights(self.model, partial)
        replace_folder(partial, folder)
        if verbose:
            self.logger.info(f"Saving the adapters of epoch {epoch}: {folder}")

    def resume_checkpoint(self, resume_file: str) -> None:
        """Load the trained weights of a checkpoint folder; training starts at epoch 0 with a fresh optimizer."""
        load_trained_weights(self.model, Path(resume_file))
        self.saved_model_file = str(resume_file)
