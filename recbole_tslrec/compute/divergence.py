"""What this package's trainers add to RecBole's: an end at the first loss that is not a number, which says where."""

import os
from typing import Any

import torch
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from recbole_tslrec.compute.distributed import is_main


class TrainingDiverged(RuntimeError):
    """The training loss is not finite."""


class StepwiseNanCheck:
    """Counts the steps of RecBole's ``Trainer`` and names the one that diverged."""

    steps_done = 0
    divergence_hint = ""

    def _check_nan(self: Any, loss: Tensor) -> None:
        self.steps_done += 1
        if not torch.isfinite(loss.detach()):
            raise TrainingDiverged(
                f"the training loss of {type(self.model).__name__} is {loss.item()} at step {self.steps_done}, "
                f"learning rate {self.learning_rate}; lower it{self.divergence_hint}. "
                f"Last good checkpoint, if any: {self.saved_model_file}"
            )


def log_under(trainer: Any, name: str) -> None:
    """Move a trainer's tensorboard log into a sub-folder: RecBole gives all trainers of a process the same one.

    Of several processes the main one has a log.
    """
    if not is_main():
        return
    folder = trainer.tensorboard.log_dir
    trainer.tensorboard.close()
    trainer.tensorboard = SummaryWriter(os.path.join(folder, name))
