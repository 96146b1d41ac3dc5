"""Which examples make a step, and how a step is cut into micro-batches that fit a budget of tokens.

A step is always ``sft_batch_size`` examples, whatever the budget and the number of processes: they only decide in which
portions the step's gradient is summed up.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recbole_tslrec.llm.settings import PADDED

_WINDOW = 8  # steps whose examples are sorted by length together: enough to even out lengths, few enough to stay random


class MicroBatch(NamedTuple):
    """Examples whose prompts go through the LLM together.

    Attributes:
        examples: their numbers, [B].
        weights: the weight of each example's error in the loss, [B]; over all micro-batches and processes they sum to
            1. An example that only fills up a process without examples of its own weighs 0.
    """

    examples: NDArray[np.int64]
    weights: NDArray[np.float64]


@dataclass(frozen=True)
class TokenBudget:
    """What a micro-batch may hold.

    Attributes:
        tokens: that the LLM computes in one pass; a single example may have more.
        prefix: tokens of d_inst.
        layout: the layout of :data:`recbole_tslrec.llm.settings.LAYOUTS`.
    """

    tokens: int
    prefix: int
    layout: str

    def cut(self, lengths: NDArray[np.int64]) -> list[int]:
        """Where to cut segments, sorted by length, into micro-batches: the ends of the pieces."""
        ends: list[int] = []
        start = total = 0
        for place, length in enumerate(lengths.tolist()):
            count = place - start + 1
            # the lengths rise, so the newest is what all are padded to
            total = count * (self.prefix + length) if self.layout == PADDED else total + length
            shared = 0 if self.layout == PADDED else self.prefix
            if count > 1 and total + shared > self.tokens:
                ends.append(place)
                start, total = place, length + (self.prefix if self.layout == PADDED else 0)
        return [*ends, len(lengths)] if len(lengths) else []


def plan_steps(
    lengths: NDArray[np.int64], examples: NDArray[np.int64], batch_size: int, seed: int, epoch: int
) -> list[NDArray[np.int64]]:
    """The examples of each step of an epoch.

    The examples are shuffled and cut into windows. A window is sorted by length, so that a step's examples are of about
    one length, and its steps are shuffled.

    Args:
        lengths: tokens of every example's segment, [E].
        examples: those to train on.
        batch_size: examples a step; the last one may have fewer.
        seed: and
        epoch: decide the order.
    """
    random = np.random.default_rng([seed, epoch])
    order = random.permutation(examples)
    steps: list[NDArray[np.int64]] = []
    for start in range(0, len(order), _WINDOW * batch_size):
        window = order[start : start + _WINDOW * batch_size]
        window = window[np.argsort(lengths[window], kind="stable")]
        cut = np.split(window, np.arange(batch_size, len(window), batch_size))
        steps += [cut[place] for place in random.permutation(len(cut))]
    return steps


def split_step(
    examples: NDArray[np.int64], lengths: NDArray[np.int64], budget: TokenBudget, processes: int = 1, rank: int = 0
) -> list[MicroBatch]:
    """The micro-batches of one process; every process gets equally many.

    Args:
        examples: the examples of the step, [n].
        lengths: tokens of the segment of each, [n].
        budget: what a micro-batch may hold.
        processes: how many share the step.
        rank: the process.
    """
    order = np.argsort(lengths, kind="stable")
    examples, lengths = examples[order], lengths[order]
    # dealt out in turn, the shares are about equal in examples and in tokens
    cuts = [budget.cut(lengths[process::processes]) for process in range(processes)]
    count = max(map(len, cuts))
    share, ends = examples[rank::processes], cuts[rank]
    micro_batches = [
        MicroBatch(share[start:end], np.full(end - start, 1 / len(examples)))
        for start, end in zip([0, *ends], ends, strict=False)
    ]
    filler = MicroBatch(examples[:1], np.zeros(1))
    return micro_batches + [filler] * (count - len(micro_batches))
