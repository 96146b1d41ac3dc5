"""Training: forward, backward and the optimizer, over the same users for every contender."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from models import INSTRUCTION_TOKENS, OBJECTIVE, RESPONSE_TOKENS
from recbole_tslrec.llm.settings import PADDED
from recbole_tslrec.sft import timed_runs
from recbole_tslrec.sft.batching import MicroBatch
from recbole_tslrec.sft.cost import Work, prefix_row_work, separate_work
from recbole_tslrec.sft.examples import Examples
from recbole_tslrec.sft.network import PromptNetwork


class Training(timed_runs.Training):
    """The package's, of the paper's task; and what it computes."""

    def __init__(
        self,
        network: PromptNetwork,
        examples: Examples,
        steps: Sequence[Sequence[MicroBatch]],
        device: torch.device,
        autocast: bool = False,
    ) -> None:
        super().__init__(network, examples, steps, device, OBJECTIVE, autocast)

    @property
    def work(self) -> Work:
        """What the network's layout computes in a call, pads not counted."""
        lengths = segment_lengths(self.examples)
        micro_batches = [micro_batch for step in self.steps for micro_batch in step]
        segments = np.concatenate([lengths[micro_batch.examples] for micro_batch in micro_batches])
        if self.network.encoder.layout == PADDED:
            return separate_work(INSTRUCTION_TOKENS, segments)
        return prefix_row_work(INSTRUCTION_TOKENS, segments, len(micro_batches))


def segment_lengths(examples: Examples) -> NDArray[np.int64]:
    """Tokens of each user's items and d_res, [U]."""
    return examples.item_counts + RESPONSE_TOKENS


def full_tokens(examples: Examples) -> int:
    """The tokens of all users' prompts, each with its own d_inst."""
    return int((segment_lengths(examples) + INSTRUCTION_TOKENS).sum())


def budget_steps(examples: Examples, tokens: int, layout: str) -> list[list[MicroBatch]]:
    """The steps and micro-batches that the package plans for the prompts of the benchmarks."""
    return timed_runs.budget_steps(examples, tokens, layout, INSTRUCTION_TOKENS, RESPONSE_TOKENS)
