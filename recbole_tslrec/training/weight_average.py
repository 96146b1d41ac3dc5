"""The moving average of a model's weights over the steps of its training.

With dropout and a constant learning rate, the weights of single steps scatter around those that fit best, and early
stopping takes the luckiest. Their average lies nearer (Polyak and Juditsky, "Acceleration of Stochastic Approximation
by Averaging", 1992).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

_POWER = 8


class WeightAverage:
    """The average of the trained weights over all steps so far, in which step s counts about as s^8.

    The recent steps count most and their mean age is a tenth of the training, however long it is: a power function of
    the step (Karras et al., "Analyzing and Improving the Training Dynamics of Diffusion Models", CVPR 2024) needs no
    width in steps or epochs. Buffers are those of the last step.

    Args:
        model: whose parameters that need a gradient are averaged.
        optimizer: after each of whose steps they are.

    Attributes:
        steps: that were averaged.
        weights: the model's own.
        average: theirs, in the same order.
    """

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self.steps = 0
        self.weights: list[Tensor] = [weight for weight in model.parameters() if weight.requires_grad]
        self.average = [weight.detach().clone() for weight in self.weights]
        optimizer.register_step_post_hook(self._follow)

    @torch.no_grad()
    def _follow(self, *_: Any) -> None:
        self.steps += 1
        decay = (self.steps - 1) / (self.steps + _POWER)  # 0 at first: the initial weights do not count
        get_ema_multi_avg_fn(decay)(self.average, self.weights, None)  # type: ignore[no-untyped-call]

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The model has the averaged weights inside, and its own again afterwards."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    @torch.no_grad()
    def _exchange(self) -> None:
        for weight, average in zip(self.weights, self.average, strict=True):
            own = weight.clone()
            weight.copy_(average)
            average.copy_(own)

    def state_dict(self) -> dict[str, Any]:
        """What an interrupted training has to keep."""
        return {"steps": self.steps, "average": self.average}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self.steps = state["steps"]
        for average, saved in zip(self.average, state["average"], strict=True):
            average.copy_(saved)
