"""Step checkpoints: an interrupted SFT goes on from the last one and ends with the weights of an undisturbed run."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from logging import getLogger
from pathlib import Path
from typing import Any

from accelerate.utils import DistributedType

from recbole_tslrec.compute import distributed
from recbole_tslrec.sft.checkpoint import load_trained_weights, save_trained_weights
from recbole_tslrec.store.artifacts import PLACES
from recbole_tslrec.store.files import read_json
from recbole_tslrec.store.step_checkpoints import (
    PROGRESS,
    Clock,
    begin_step_checkpoint,
    finish_step_checkpoint,
    partial_checkpoint,
    restore_best,
)


class ResumeError(ValueError):
    """A step checkpoint does not belong to this training."""


@dataclass
class Position:
    """How far training is.

    Attributes:
        epoch: the epoch under way; -1 before the first.
        step: steps of it that are done.
        examples: examples of it that are done.
        loss_sum: the sum of their losses.
    """

    epoch: int = -1
    step: int = 0
    examples: int = 0
    loss_sum: float = 0.0

    @property
    def mean_loss(self) -> float:
        """Over the examples of the epoch so far."""
        return self.loss_sum / self.examples

    def advance(self, loss: float, examples: int) -> None:
        """Count a step: its mean loss and its examples."""
        self.step += 1
        self.examples += examples
        self.loss_sum += loss * examples


class StepCheckpoints:
    """Writes and reads step checkpoints: accelerate's state (optimizer, schedule, random numbers), the trained weights
    and where in the epoch training is.

    Args:
        trainer: an ``SFTTrainer`` that is prepared.
        data_fingerprint: the fingerprint of its training examples.
    """

    def __init__(self, trainer: Any, data_fingerprint: str) -> None:
        self.trainer = trainer
        self.folder, self.best = Path(trainer.checkpoint_dir), Path(trainer.saved_model_file)
        self.every = trainer.settings.sft_save_steps
        settings = {**trainer.task.recipe, "training examples": data_fingerprint}
        self.settings = json.loads(json.dumps(settings, default=str))  # as it will be read
        self.clock, self.saved_step = Clock(), trainer.steps_done
        accelerator = trainer.accelerator
        if accelerator.distributed_type not in (DistributedType.FSDP, DistributedType.DEEPSPEED):
            # accelerate would write the frozen LLM each time; sharded models are its own business
            accelerator.register_save_state_pre_hook(self._save_trained_only)
            accelerator.register_load_state_pre_hook(self._load_trained_only)

    def save_if_due(self) -> None:
        """Save every ``sft_save_steps`` steps; without that number, when four minutes have passed."""
        steps = self.trainer.steps_done
        due = steps > self.saved_step and (steps % self.every == 0 if self.every else self.clock.is_due())
        if self.every or distributed.process_count() == 1:
            if due:
                self.save()
        elif distributed.from_main(due):
            self.save()

    def save(self) -> None:
        """Write a checkpoint of the present state."""
        steps = self.trainer.steps_done
        if distributed.is_main():
            begin_step_checkpoint(self.folder, steps)
        distributed.wait_for_everyone()
        self.trainer.accelerator.save_state(str(partial_checkpoint(self.folder, steps)))
        distributed.wait_for_everyone()
        if distributed.is_main():
            finish_step_checkpoint(self.folder, steps, self._progress(), self.best)
        distributed.wait_for_everyone()
        self.clock.restart()
        self.saved_step = steps

    def load(self, checkpoint: Path) -> None:
        """Put a checkpoint's state into the trainer.

        Raises:
            ResumeError: it was made with other settings or users, by another number of processes that share a model in
                pieces, or is none.
        """
        try:
            progress = read_json(checkpoint / PROGRESS)
            settings, _ = progress["settings"], progress["processes"]
        except (OSError, KeyError, ValueError) as error:
            raise ResumeError(f"{checkpoint} is no whole step checkpoint ({error}); delete it to start anew") from error
        names = sorted((settings.keys() | self.settings.keys()) - PLACES.keys())
        differing = [name for name in names if settings.get(name) != self.settings.get(name)]
        if differing:
            changes = ", ".join(f"{name} {settings.get(name)} -> {self.settings.get(name)}" for name in differing)
            raise ResumeError(
                f"{checkpoint} was made with other settings: {changes}; give the former ones, or delete it to start "
                "anew"
            )
        trainer = self.trainer
        self._check_processes(checkpoint, progress)
        if distributed.is_main():
            restore_best(checkpoint, self.best)
        trainer.accelerator.load_state(str(checkpoint))
        trainer.position = Position(**progress["position"])
        trainer.start_epoch = trainer.position.epoch
        trainer.steps_done = self.saved_step = progress["steps_done"]
        trainer.cur_step = progress["epochs_without_improvement"]
        if progress["best_valid_score"] is not None:
            trainer.best_valid_score = progress["best_valid_score"]
            trainer.best_valid_result = progress["best_valid_result"]
        trainer.train_loss_dict = {int(epoch): loss for epoch, loss in progress["train_loss"].items()}
        if trainer.settings.sft_tokens_per_batch is None:
            trainer.tokens_per_batch = progress["tokens_per_batch"]
        getLogger().info(f"SFT goes on from {checkpoint}: epoch {trainer.position.epoch}, step {trainer.position.step}")

    def _check_processes(self, checkpoint: Path, progress: Mapping[str, Any]) -> None:
        """Where each process has the whole model, another number of them goes on with the same steps."""
        written, now = progress["processes"], distributed.process_count()
        if written == now:
            return
        if self.trainer.accelerator.distributed_type in (DistributedType.FSDP, DistributedType.DEEPSPEED):
            raise ResumeError(
                f"{checkpoint} holds the pieces of {written} processes, and this run has {now}; start {written}, or "
                "delete it to start anew"
            )
        getLogger().warning(
            f"{checkpoint} was written with {written} processes, and {now} go on from it: the steps are the same, but "
            "dropout draws other numbers than in a run that was not interrupted"
        )

    def _progress(self) -> dict[str, Any]:
        trainer = self.trainer
        validated = trainer.best_valid_result is not None
        return {
            "settings": self.settings,
            "processes": distributed.process_count(),
            "position": asdict(trainer.position),
            "steps_done": trainer.steps_done,
            "epochs_without_improvement": trainer.cur_step,
            "best_valid_score": trainer.best_valid_score if validated else None,  # infinity is no JSON
            "best_valid_result": trainer.best_valid_result,
            "train_loss": trainer.train_loss_dict,
            "tokens_per_batch": trainer.tokens_per_batch,
        }

    def _save_trained_only(self, models: list[Any], weights: list[Any], folder: str) -> None:
        weights.clear()
        if distributed.is_main():
            save_trained_weights(self.trainer.model, Path(folder))

    def _load_trained_only(self, models: list[Any], folder: str) -> None:
        models.clear()
        load_trained_weights(self.trainer.model, Path(folder))
