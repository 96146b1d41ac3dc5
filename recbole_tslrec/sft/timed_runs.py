"""What is timed of an LLM: some steps of training, and some prompts of inference."""

from collections.abc import Sequence
from contextlib import nullcontext
from itertools import chain

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recbole_tslrec.sft.batching import MicroBatch, TokenBudget, split_step
from recbole_tslrec.sft.examples import ITEM_SEQ, ITEM_SEQ_LEN, TARGET, Examples
from recbole_tslrec.sft.network import PromptNetwork
from recbole_tslrec.sft.task import Objective


class Training:
    """One call is some steps of the optimizer, each as the package's trainer makes it.

    Args:
        network: what is trained.
        examples: the users' prompts and targets.
        steps: the micro-batches of each step.
        device: the device of the network.
        objective: whose errors are minimised.
        autocast: in half precision, where the LLM is.
    """

    def __init__(
        self,
        network: PromptNetwork,
        examples: Examples,
        steps: Sequence[Sequence[MicroBatch]],
        device: torch.device,
        objective: Objective,
        autocast: bool = False,
    ) -> None:
        self.network = network.train()
        self.examples = examples
        self.steps = steps
        self.device = device
        self.autocast = autocast
        self.objective = objective
        self.trained = list(network.trainable().values())
        self.optimizer = torch.optim.AdamW(self.trained, lr=3e-4, weight_decay=0.0, fused=True)

    def __call__(self) -> None:
        self.network.train()
        for micro_batches in self.steps:
            for micro_batch in micro_batches:
                self.loss(micro_batch).backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(self.trained, 1.0)
            self.optimizer.step()
            self.optimizer.zero_grad()

    def loss(self, micro_batch: MicroBatch) -> Tensor:
        """The part of the step's loss that one micro-batch has."""
        interaction = self.examples.interaction(micro_batch.examples).to(self.device)
        with torch.autocast(self.device.type, torch.bfloat16) if self.autocast else nullcontext():
            _, scores = self.network(interaction[ITEM_SEQ], interaction[ITEM_SEQ_LEN])
            errors = self.objective.errors(scores, interaction[TARGET])
            return (torch.from_numpy(micro_batch.weights).to(errors) * errors).sum()


class Inference:
    """One call is the scores of all items for some users.

    Args:
        network: fine-tuned.
        examples: the users.
        steps: the micro-batches of each step.
        device: the device of the network.
    """

    def __init__(
        self,
        network: PromptNetwork,
        examples: Examples,
        steps: Sequence[Sequence[MicroBatch]],
        device: torch.device,
    ) -> None:
        self.network = network.eval()
        self.examples = examples
        self.steps = steps
        self.device = device

    @torch.inference_mode()
    def __call__(self) -> None:
        for micro_batch in chain.from_iterable(self.steps):
            interaction = self.examples.interaction(micro_batch.examples).to(self.device)
            self.network(interaction[ITEM_SEQ], interaction[ITEM_SEQ_LEN])


def budget_steps(examples: Examples, tokens: int, layout: str, prefix: int, response: int) -> list[list[MicroBatch]]:
    """The steps and micro-batches that the package plans: users of about one length, cut to a budget of tokens.

    Args:
        examples: the users.
        tokens: the tokens of a micro-batch.
        layout: the layout of the prompts.
        prefix: tokens of d_inst.
        response: tokens of d_res.
    """
    budget = TokenBudget(tokens, prefix, layout)
    segments = examples.item_counts + response
    return [split_step(users, segments[users], budget) for users in examples.steps(0)]


def random_steps(examples: Examples, size: int) -> list[list[MicroBatch]]:
    """Users in random order, so many a step and so many a micro-batch: what most training code does."""
    order = np.random.default_rng(examples.seed).permutation(examples.chosen)
    return [
        [MicroBatch(piece, np.full(len(piece), 1 / len(users))) for piece in _pieces(users, size)]
        for users in _pieces(order, examples.batch_size)
    ]


def _pieces(users: NDArray[np.int64], size: int) -> list[NDArray[np.int64]]:
    return np.split(users, range(size, len(users), size))
