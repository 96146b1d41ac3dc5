"""Eq. 2 and Eq. 3: the predicted preference distribution and its loss."""

from collections.abc import Iterator, Sequence
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


def task_errors(logits: Tensor, target: Tensor, group_counts: list[int], loss: str) -> Tensor:
    """The error of each user, with several groupings the mean over them (our choice).

    Args:
        logits: g-hat before its softmax, [B, sum of K].
        target: g-bar of each grouping, [B, sum of K].
        group_counts: K of each grouping.
        loss: ``mse``, Eq. 3, or ``kl``.

    Returns:
        [B].
    """
    errors = [
        kl_divergence(scores, wanted) if loss == "kl" else reconstruction_error(torch.softmax(scores, dim=1), wanted)
        for scores, wanted in _of_each_grouping(logits, target, group_counts)
    ]
    return torch.stack(errors).mean(dim=0)


def favourite_agrees(logits: Tensor, target: Tensor, group_counts: list[int]) -> Tensor:
    """Whether the predicted favourite group is one of the target's, with several groupings the share that is; [B]."""
    agree = []
    for scores, wanted in _of_each_grouping(logits, target, group_counts):
        favourite = wanted.gather(1, scores.argmax(dim=1, keepdim=True)).squeeze(1)  # [B]
        agree.append((favourite == wanted.max(dim=1).values).float())
    return torch.stack(agree).mean(dim=0)


def _of_each_grouping(logits: Tensor, target: Tensor, group_counts: list[int]) -> Iterator[tuple[Tensor, Tensor]]:
    """Logits and target of one grouping after the other, [B, K] each."""
    return zip(torch.split(logits, group_counts, dim=1), torch.split(target, group_counts, dim=1), strict=True)


class PreferenceHead(nn.Linear):
    """W_gp, b_gp of Eq. 2; several groupings have their scores side by side.

    Args:
        hidden_size: H.
        group_counts: K of each grouping.
    """

    def __init__(self, hidden_size: int, group_counts: Sequence[int]) -> None:
        super().__init__(hidden_size, sum(group_counts))
        self.group_counts = list(group_counts)

    def forward(self, input: Tensor) -> Tensor:
        """h [B, H] -> W_gp h + b_gp [B, sum of K], in full precision under autocast too."""
        with torch.autocast(input.device.type, enabled=False):
            return super().forward(input)

    def distribution(self, hidden: Tensor) -> Tensor:
        """Eq. 2: h [B, H] -> g-hat = softmax(W_gp h + b_gp) [B, sum of K]; several groupings have a softmax each."""
        parts = torch.split(self(hidden), self.group_counts, dim=1)
        return torch.cat([torch.softmax(scores, dim=1) for scores in parts], dim=1)


@dataclass(frozen=True)
class PreferenceObjective:
    """Eq. 2 and Eq. 3 as what the fine-tuning engine trains.

    Attributes:
        group_counts: K of each grouping.
        loss: ``mse``, Eq. 3, or ``kl``.
    """

    group_counts: list[int]
    loss: str = "mse"

    def head(self, hidden_size: int) -> PreferenceHead:
        """W_gp, b_gp."""
        return PreferenceHead(hidden_size, self.group_counts)

    def errors(self, scores: Tensor, target: Tensor) -> Tensor:
        """Of each user, [B]."""
        return task_errors(scores, target, self.group_counts, self.loss)

    def metrics(self, scores: Tensor, target: Tensor) -> dict[str, Tensor]:
        """``top1``: whether the predicted favourite group is one of the target's, [B]."""
        return {"top1": favourite_agrees(scores, target, self.group_counts)}
