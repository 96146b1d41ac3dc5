"""Figure 3, measured: the LLM's seconds for a training epoch and for inference, TSLRec against E4SRec.

tslrec             One prompt a user, prefix row; inference: every item goes through the LLM once, and no user does.
e4srec             One prompt a training interaction, at most ``max_items`` a user, full cross entropy over the items;
                   inference: one prompt a user, and scores of all items. Base model without LM head, prompts sorted by
                   length, fastest of several token budgets, adapters merged for inference: the best without a shared
                   prefix.
e4srec_prefix_row  The same through this package's prefix row: what is left is one prompt a user against one an
                   interaction.
e4srec_published   The same as it was published: pads between instruction and response, batches of 16 in training and
                   of 1 in inference, adapters not merged.

All have the same LLM. A sample of the prompts is timed and scaled by their number.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recbole_tslrec.augmentation.knowledge_export import encode_items, prepare_for_export
from recbole_tslrec.baselines.e4srec import NextItemObjective
from recbole_tslrec.llm.adapters import merge_adapters
from recbole_tslrec.reconstruction.loss import PreferenceHead, PreferenceObjective
from recbole_tslrec.sft.batching import MicroBatch
from recbole_tslrec.sft.cost import MOST_TOKENS
from recbole_tslrec.sft.examples import Examples
from recbole_tslrec.sft.network import PromptNetwork
from recbole_tslrec.sft.prompt_lengths import PromptLengths, random_examples, sample
from recbole_tslrec.sft.timed_runs import Inference, Training, budget_steps, random_steps
from recbole_tslrec.sft.timing import fastest, interleaved

TSLREC, E4SREC, E4SREC_ROW, E4SREC_PUBLISHED = "tslrec", "e4srec", "e4srec_prefix_row", "e4srec_published"
CONTENDERS = (TSLREC, E4SREC, E4SREC_ROW, E4SREC_PUBLISHED)
_PUBLISHED_BATCH = 16
_EXPORT_BATCH = 1024


@dataclass(frozen=True)
class Sample:
    """How much is timed.

    Attributes:
        prompts: prompts of training and of inference, where they are batched.
        batch_size: prompts a step of the optimizer, where they are batched.
        published_batches: the published batches of training, for e4srec_published.
        published_users: the published users of inference, for e4srec_published.
        items: that are exported.
        rounds: that count.
        budgets: the budgets of e4srec, in tokens, to choose from.
    """

    prompts: int = 256
    batch_size: int = 128
    published_batches: int = 8
    published_users: int = 64
    items: int = 2048
    rounds: int = 5
    budgets: Sequence[int] = (1024, 2048, 4096)


@dataclass(frozen=True)
class Place:
    """Where and on what all contenders run.

    Attributes:
        build: a contender and N -> its network, whose encoder has the contender's layout.
        device: the device of the networks.
        dtype: the floating-point type of the LLM's weights.
    """

    build: Callable[[str, int], PromptNetwork]
    device: torch.device
    dtype: torch.dtype = torch.float32


@dataclass(frozen=True)
class Part:
    """What is timed of a contender.

    Attributes:
        run: over the sample.
        sample: prompts in it.
        whole: prompts of an epoch, or of inference.
    """

    run: Callable[[], object]
    sample: int
    whole: int


@dataclass(frozen=True)
class Cost:
    """What a contender takes for an epoch, or for inference.

    Attributes:
        prompts: that go through the LLM.
        seconds: for all of them.
    """

    prompts: int
    seconds: float


@dataclass(frozen=True)
class Taken:
    """What a contender took.

    Attributes:
        sample: prompts that were timed.
        seconds: for them.
        whole: prompts in all.
    """

    sample: int
    seconds: float
    whole: int

    @property
    def scaled(self) -> Cost:
        """All prompts."""
        return Cost(self.whole, self.seconds * self.whole / self.sample)


def time_training(data: PromptLengths, scale: Sample, place: Place) -> dict[str, Taken]:
    """A training epoch of each contender."""
    return _time(training_parts(data, scale, place), scale, place)


def time_inference(data: PromptLengths, scale: Sample, place: Place) -> dict[str, Taken]:
    """TSLRec's export of all items, and E4SRec's scores for all users."""
    return _time(inference_parts(data, scale, place), scale, place)


def _time(parts: Mapping[str, Part], scale: Sample, place: Place) -> dict[str, Taken]:
    taken = interleaved({contender: part.run for contender, part in parts.items()}, scale.rounds, place.device)
    return {contender: Taken(part.sample, taken[contender], part.whole) for contender, part in parts.items()}


def training_parts(data: PromptLengths, scale: Sample, place: Place) -> dict[str, Part]:
    """Some steps of each contender."""
    most, whole = MOST_TOKENS[place.device.type], data.instance_items
    half = place.dtype != torch.float32
    own = place.build(TSLREC, data.items)
    head = own.head
    assert isinstance(head, PreferenceHead)
    objective = PreferenceObjective(head.out_features)
    groups = torch.from_numpy(np.random.default_rng(0).dirichlet(np.ones(head.out_features), scale.prompts)).float()
    users = random_examples(sample(data.prompt_items, scale.prompts), data.items, groups, scale.batch_size)
    run = Training(own, users, _plan(own, users, most), place.device, objective, half)
    parts = {TSLREC: Part(run, len(users), data.users)}

    next_item = NextItemObjective(data.items)

    def add(contender: str, examples: Examples, plan: Callable[[PromptNetwork, int], _Steps]) -> None:
        network = place.build(contender, data.items)
        budgets = scale.budgets if contender == E4SREC else [most]
        runs = {
            tokens: Training(network, examples, plan(network, tokens), place.device, next_item, half)
            for tokens in budgets
        }
        best = fastest(runs, place.device) if len(runs) > 1 else budgets[0]
        parts[contender] = Part(runs[best], len(examples), len(whole))

    batched = instances(sample(whole, scale.prompts), data.items, scale.batch_size)
    for contender in (E4SREC, E4SREC_ROW):
        add(contender, batched, lambda network, tokens: _plan(network, batched, tokens))
    small = instances(sample(whole, scale.published_batches * _PUBLISHED_BATCH), data.items, _PUBLISHED_BATCH)
    add(E4SREC_PUBLISHED, small, lambda network, tokens: random_steps(small, _PUBLISHED_BATCH))
    return parts


def inference_parts(data: PromptLengths, scale: Sample, place: Place) -> dict[str, Part]:
    """The export of TSLRec, and some users of E4SRec."""
    exporter = place.build(TSLREC, data.items)
    prepare_for_export(exporter, place.dtype)
    rows = exporter.item_embeddings[1 : scale.items + 1]
    parts = {TSLREC: Part(lambda: _export(exporter, rows), len(rows), data.items)}

    batched = instances(sample(data.inference_items, scale.prompts), data.items, scale.prompts)
    for contender, budgets in ((E4SREC, scale.budgets), (E4SREC_ROW, [MOST_TOKENS[place.device.type]])):
        network = place.build(contender, data.items)
        merge_adapters(network.encoder)
        runs = {
            tokens: Inference(network, batched, _plan(network, batched, tokens), place.device) for tokens in budgets
        }
        best = fastest(runs, place.device) if len(runs) > 1 else budgets[0]
        parts[contender] = Part(runs[best], len(batched), data.users)
    single = instances(sample(data.inference_items, scale.published_users), data.items, scale.published_users)
    network = place.build(E4SREC_PUBLISHED, data.items)
    run = Inference(network, single, random_steps(single, 1), place.device)
    parts[E4SREC_PUBLISHED] = Part(run, len(single), data.users)
    return parts


def instances(item_counts: NDArray[np.int64], items: int, batch_size: int) -> Examples:
    """Prompts of the given lengths whose target is an item, so many a step."""
    targets = torch.from_numpy(np.random.default_rng(0).integers(0, items, len(item_counts)))
    return random_examples(item_counts, items, targets, batch_size)


_Steps = list[list[MicroBatch]]


def _plan(network: PromptNetwork, examples: Examples, tokens: int) -> _Steps:
    encoder = network.encoder
    return budget_steps(examples, tokens, encoder.layout, len(encoder.instruction), len(encoder.response))


def _export(network: PromptNetwork, rows: Tensor) -> None:
    for part in torch.split(rows, _EXPORT_BATCH):
        encode_items(network, part)
