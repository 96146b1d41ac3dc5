"""Eq. 2 and Eq. 3: the predicted preference distribution and its loss."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn


def reconstruction_error(predicted: Tensor, target: Tensor) -> Tensor:
    """Eq. 3 for each user: the squared error summed over the groups.

    The loss of a batch is the mean over its users (our choice), so that the learning rate does not depend on their
    number.

    Args:
        predicted: g-hat, [B, K].
        target: g-bar, [B, K].

    Returns:
        [B].
    """
    return (target - predicted).square().sum(dim=1)


def kl_divergence(logits: Tensor, target: Tensor) -> Tensor:
    """``sft_loss: kl`` (added here): KL(g-bar || g-hat) of each user in nats, cross entropy less the target's entropy.

    Args:
        logits: g-hat before its softmax, [B, K].
        target: g-bar, [B, K].

    Returns:
        [B].
    """
    cross_entropy = -(target * torch.log_softmax(logits, dim=1)).sum(dim=1)  # [B]
    return cross_entropy + torch.xlogy(target, target).sum(dim=1)


def favourite_agrees(logits: Tensor, target: Tensor) -> Tensor:
    """Whether the predicted favourite group is one of the target's; [B, K] both -> float32 [B]."""
    favourite = target.gather(1, logits.argmax(dim=1, keepdim=True)).squeeze(1)  # [B]
    return (favourite == target.max(dim=1).values).float()


class PreferenceHead(nn.Linear):
    """W_gp, b_gp of Eq. 2.

    Args:
        hidden_size: H.
        group_count: K.
    """

    def __init__(self, hidden_size: int, group_count: int) -> None:
        super().__init__(hidden_size, group_count)

    def forward(self, input: Tensor) -> Tensor:
        """h [B, H] -> W_gp h + b_gp [B, K], in full precision under autocast too."""
        with torch.autocast(input.device.type, enabled=False):
            return super().forward(input)

    def distribution(self, hidden: Tensor) -> Tensor:
        """Eq. 2: h [B, H] -> g-hat = softmax(W_gp h + b_gp) [B, K]."""
        return torch.softmax(self(hidden), dim=1)


@dataclass(frozen=True)
class PreferenceObjective:
    """Eq. 2 and Eq. 3 as what the fine-tuning engine trains.

    Attributes:
        group_count: K.
        loss: ``mse``, Eq. 3, or ``kl``.
    """

    group_count: int
    loss: str = "mse"

    def head(self, hidden_size: int) -> PreferenceHead:
        """W_gp, b_gp."""
        return PreferenceHead(hidden_size, self.group_count)

    def errors(self, scores: Tensor, target: Tensor) -> Tensor:
        """Of each user: g-hat before its softmax and g-bar, [B, K] both -> [B]."""
        if self.loss == "kl":
            return kl_divergence(scores, target)
        return reconstruction_error(torch.softmax(scores, dim=1), target)

    def metrics(self, scores: Tensor, target: Tensor) -> dict[str, Tensor]:
        """``top1``: whether the predicted favourite group is one of the target's, [B]."""
        return {"top1": favourite_agrees(scores, target)}
