"""Training: forward, backward and the optimizer, over the same users for every contender."""

import numpy as np
from numpy.typing import NDArray

from models import INSTRUCTION_TOKENS, RESPONSE_TOKENS
from recbole_tslrec.sft.cost import Work, prefix_row_work, separate_work
from recbole_tslrec.llm.settings import PADDED
from recbole_tslrec.sft.batching import MicroBatch
from recbole_tslrec.reconstruction.examples import UserExamples
from recbole_tslrec.report import llm_runs


class Training(llm_runs.Training):
    """The package's, and what it computes."""

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
    """The steps and micro-batches that the package plans for the prompts of the benchmarks."""
    return llm_runs.budget_steps(examples, tokens, layout, INSTRUCTION_TOKENS, RESPONSE_TOKENS)
