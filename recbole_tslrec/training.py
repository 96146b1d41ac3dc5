"""What our trainers add to RecBole's: training that stops at the first loss that is not a number, and says where."""

from typing import Any

import torch
from torch import Tensor


class TrainingDiverged(RuntimeError):
    """The training loss is not finite."""


class StepwiseNanCheck:
    """Counts the steps of RecBole's ``Trainer`` and names the one that diverged."""

    steps_done = 0

    def _check_nan(self: Any, loss: Tensor) -> None:
        self.steps_done += 1
        if not torch.isfinite(loss.detach()):
            raise TrainingDiverged(
                f"the training loss is {loss.item()} at step {self.steps_done} with learning rate {self.learning_rate}; "
                f"lower the learning rate. The last good checkpoint, if an epoch was finished: {self.saved_model_file}"
            )
