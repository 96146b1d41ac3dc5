"""Training: forward, backward and the optimizer, over the same users for every contender."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models import INSTRUCTION_TOKENS, RESPONSE_TOKENS
from recbole_tslrec.llm.cost import Work, prefix_row_work, separate_work
from recbole_tslrec.llm.layout import PADDED
from recbole_tslrec.reconstruction.batching import MicroBatch, TokenBudget, split_step
from recbole_tslrec.reconstruction.examples import UserExamples
from recbole_tslrec.reconstruction.network import (
    ITEM_SEQ,
    ITEM_SEQ_LEN,
    PREFERENCE_TARGET,
    ReconstructionNetwork,
    task_errors,
)

# (network, interaction) -> the error of each of its users
Errors = Callable[[ReconstructionNetwork, Any], Tensor]


def preference_errors(network: ReconstructionNetwork, interaction: Any) -> Tensor:
    """Eq. 3, [B]."""
    _, logits = network(interaction[ITEM_SEQ], interaction[ITEM_SEQ_LEN])
    return task_errors(logits, interaction[PREFERENCE_TARGET], network.group_counts, "mse")


class Training:
    """One call is some steps of the optimizer, each as the package's trainer makes it.

    Args:
        network: what is trained.
        examples: the users' prompts and targets.
        steps: the micro-batches of each step.
        device: of the network.
        autocast: in half precision, where the LLM is.
        errors: what is minimised.
    """

    def __init__(
        self,
        network: ReconstructionNetwork,
        examples: UserExamples,
        steps: Sequence[Sequence[MicroBatch]],
        device: torch.device,
        autocast: bool = False,
        errors: Errors = preference_errors,
    ) -> None:
        self.network = network.train()
        self.examples = examples
        self.steps = steps
        self.device = device
        self.autocast = autocast
        self.errors = errors
        self.trained = list(network.trainable().values())
        self.optimizer = torch.optim.AdamW(self.trained, lr=3e-4, weight_decay=0.0, fused=True)

    def __call__(self) -> None:
        self.network.train()
        for micro_batches in self.steps:
            for micro_batch in micro_batches:
                self.loss(micro_batch).backward()
            torch.nn.utils.clip_grad_norm_(self.trained, 1.0)
            self.optimizer.step()
            self.optimizer.zero_grad()

    def loss(self, micro_batch: MicroBatch) -> Tensor:
        """The part of the step's loss that one micro-batch has."""
        interaction = self.examples.interaction(micro_batch.users).to(self.device)
        with torch.autocast(self.device.type, torch.bfloat16) if self.autocast else nullcontext():
            errors = self.errors(self.network, interaction)
            return (torch.from_numpy(micro_batch.weights).to(errors) * errors).sum()

    @property
    def work(self) -> Work:
        """What the network's layout computes in a call, pads not counted."""
        lengths = segment_lengths(self.examples)
        micro_batches = [micro_batch for step in self.steps for micro_batch in step]
        segments = np.concatenate([lengths[micro_batch.users] for micro_batch in micro_batches])
        if self.network.encoder.layout == PADDED:
            return separate_work(INSTRUCTION_TOKENS, segments)
        return prefix_row_work(INSTRUCTION_TOKENS, segments, len(micro_batches))


def segment_lengths(examples: UserExamples) -> NDArray[np.int64]:
    """Tokens of each user's items and d_res, [U]."""
    return examples.item_counts + RESPONSE_TOKENS


def full_tokens(examples: UserExamples) -> int:
    """The tokens of all users' prompts, each with its own d_inst."""
    return int((segment_lengths(examples) + INSTRUCTION_TOKENS).sum())


def budget_steps(examples: UserExamples, tokens: int, layout: str) -> list[list[MicroBatch]]:
    """The steps and micro-batches that the package plans: users of about one length, cut to a budget of tokens."""
    budget = TokenBudget(tokens, INSTRUCTION_TOKENS, layout)
    return [split_step(users, segment_lengths(examples), budget) for users in examples.steps(0)]


def random_steps(examples: UserExamples, size: int) -> list[list[MicroBatch]]:
    """Users in random order, so many a step and so many a micro-batch: what most training code does."""
    order = np.random.default_rng(examples.seed).permutation(examples.users)
    return [
        [MicroBatch(piece, np.full(len(piece), 1 / len(users))) for piece in _pieces(users, size)]
        for users in _pieces(order, examples.batch_size)
    ]


def _pieces(users: NDArray[np.int64], size: int) -> list[NDArray[np.int64]]:
    return np.split(users, range(size, len(users), size))
