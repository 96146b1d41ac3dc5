"""Figure 3 of the paper: the LLM's seconds for a training epoch and for inference, TSLRec against E4SRec.

tslrec             One prompt a user, prefix row; inference: every item goes through the LLM once, and no user does.
e4srec             One prompt a training interaction, at most 50 a user, full cross entropy over the items; inference:
                   one prompt a user, and scores of all items. Base model without LM head, prompts sorted by length,
                   fastest of several token budgets, adapters merged for inference: the best without a shared prefix.
e4srec_prefix_row  The same through this package's prefix row: what is left is one prompt a user against one an
                   interaction.
e4srec_published   The same as it was published: pads between instruction and response, batches of 16 in training and
                   of 1 in inference, adapters not merged.

All have the same LLM and adapters, in float32. A sample of each dataset's prompts is timed and scaled by their number.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from peft import PeftModel
from torch import Tensor
from torch.nn.functional import cross_entropy

import lengths
from lengths import Lengths
from measure import Report, arguments, fastest, interleaved, say
from models import SEED, SMALL, LLMSize, build_llm, build_network, item_embeddings, make_examples
from recbole_tslrec.augmentation.export import encode_items, prepare_for_export
from recbole_tslrec.llm.cost import MOST_TOKENS
from recbole_tslrec.llm.encoder import PromptEncoder
from recbole_tslrec.llm.layout import PADDED, PREFIX_ROW
from recbole_tslrec.reconstruction.batching import MicroBatch
from recbole_tslrec.reconstruction.examples import UserExamples
from recbole_tslrec.reconstruction.network import ITEM_SEQ, ITEM_SEQ_LEN, PREFERENCE_TARGET, ReconstructionNetwork
from rivals import InstanceNetwork, MiddlePadded
from steps import Training, budget_steps, random_steps

TSLREC, E4SREC, E4SREC_ROW, E4SREC_PUBLISHED = "tslrec", "e4srec", "e4srec_prefix_row", "e4srec_published"
RIVALS = {E4SREC: "", E4SREC_ROW: "_both_prefix_row", E4SREC_PUBLISHED: "_published"}  # suffix of the ratio's name
_PUBLISHED_BATCH = 16
_EXPORT_BATCH = 1024


@dataclass(frozen=True)
class Scale:
    """How much is measured.

    Attributes:
        size: of the LLM.
        prompts: of training and of inference that are timed, where they are batched.
        batch_size: prompts a step of the optimizer, where they are batched.
        published_batches: of training that are timed for e4srec_published.
        published_users: whose inference is timed for e4srec_published.
        items: whose export is timed.
        rounds: that count.
        budgets: of e4srec, in tokens, to choose from.
        cases: of :data:`lengths.CASES`.
    """

    size: LLMSize = SMALL
    prompts: int = 256
    batch_size: int = 128
    published_batches: int = 8
    published_users: int = 64
    items: int = 2048
    rounds: int = 5
    budgets: Sequence[int] = (1024, 2048, 4096)
    cases: Sequence[str] = ("beauty", "ml1m")


QUICK = Scale(prompts=64, batch_size=32, published_batches=2, published_users=16, items=1024, rounds=2, budgets=(1024,))


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


def instance_errors(network: ReconstructionNetwork, interaction: object) -> Tensor:
    """Cross entropy of the next item over all items, [B]."""
    _, scores = network(interaction[ITEM_SEQ], interaction[ITEM_SEQ_LEN])  # type: ignore[index]
    return cross_entropy(scores, interaction[PREFERENCE_TARGET][:, 0], reduction="none")  # type: ignore[index]


class Inference:
    """One call is the scores of all items for some users.

    Args:
        network: fine-tuned.
        examples: the users.
        micro_batches: of them.
    """

    def __init__(
        self, network: ReconstructionNetwork, examples: UserExamples, micro_batches: Sequence[MicroBatch]
    ) -> None:
        self.network = network.eval()
        self.examples = examples
        self.micro_batches = micro_batches

    @torch.inference_mode()
    def __call__(self) -> None:
        for micro_batch in self.micro_batches:
            interaction = self.examples.interaction(micro_batch.users)
            self.network(interaction[ITEM_SEQ], interaction[ITEM_SEQ_LEN])


def instances(item_counts: NDArray[np.int64], items: int, batch_size: int) -> UserExamples:
    """Prompts of the given lengths whose target is an item, so many a step."""
    examples = make_examples(item_counts, items, batch_size)
    targets = torch.from_numpy(np.random.default_rng(SEED).integers(0, items, (len(item_counts), 1)))
    return replace(examples, targets=targets)


def e4srec(size: LLMSize, items: int, device: torch.device, contender: str) -> ReconstructionNetwork:
    """A network for E4SRec's task, with prompts in the contender's layout."""
    encoder_class: type[PromptEncoder] = MiddlePadded if contender == E4SREC_PUBLISHED else PromptEncoder
    layout = PREFIX_ROW if contender == E4SREC_ROW else PADDED
    llm = build_llm(size, device)
    return build_network(
        llm, size, items, device, layout, None, encoder_class, network_class=InstanceNetwork, outputs=items
    )


def merge_adapters(network: ReconstructionNetwork) -> ReconstructionNetwork:
    """Make the LoRA adapters part of the LLM's weights; the layout stays."""
    encoder = network.encoder
    if isinstance(encoder.llm, PeftModel):
        encoder.llm = encoder.llm.merge_and_unload()
    return network


def training_parts(data: Lengths, scale: Scale, device: torch.device) -> dict[str, Part]:
    """Some steps of each contender."""
    size, most, whole = scale.size, MOST_TOKENS[device.type], data.instance_items
    users = make_examples(lengths.sample(data.prompt_items, scale.prompts), data.items, scale.batch_size)
    own = build_network(build_llm(size, device), size, data.items, device)
    parts = {TSLREC: Part(Training(own, users, budget_steps(users, most, PREFIX_ROW), device), len(users), data.users)}

    def add(contender: str, examples: UserExamples, plans: Sequence[Sequence[Sequence[MicroBatch]]]) -> None:
        network = e4srec(size, data.items, device, contender)
        runs = [Training(network, examples, plan, device, errors=instance_errors) for plan in plans]
        best = fastest(dict(enumerate(runs)), device) if len(runs) > 1 else 0
        parts[contender] = Part(runs[best], len(examples), len(whole))

    batched = instances(lengths.sample(whole, scale.prompts), data.items, scale.batch_size)
    add(E4SREC, batched, [budget_steps(batched, tokens, PADDED) for tokens in scale.budgets])
    add(E4SREC_ROW, batched, [budget_steps(batched, most, PREFIX_ROW)])
    published = lengths.sample(whole, scale.published_batches * _PUBLISHED_BATCH)
    small = instances(published, data.items, _PUBLISHED_BATCH)
    add(E4SREC_PUBLISHED, small, [random_steps(small, _PUBLISHED_BATCH)])
    return parts


def inference_parts(data: Lengths, scale: Scale, device: torch.device) -> dict[str, Part]:
    """The export of TSLRec, and some users of E4SRec."""
    exporter = build_network(build_llm(scale.size, device), scale.size, 1, device)
    prepare_for_export(exporter, torch.float32)
    rows = item_embeddings(min(scale.items, data.items))[1:]
    export: Callable[[], object] = lambda: [encode_items(exporter, part) for part in rows.split(_EXPORT_BATCH)]  # noqa: E731
    parts = {TSLREC: Part(export, len(rows), data.items)}

    batched = instances(lengths.sample(data.inference_items, scale.prompts), data.items, scale.prompts)
    network = merge_adapters(e4srec(scale.size, data.items, device, E4SREC))
    runs = {tokens: Inference(network, batched, *budget_steps(batched, tokens, PADDED)) for tokens in scale.budgets}
    parts[E4SREC] = Part(runs[fastest(runs, device)], len(batched), data.users)
    network = merge_adapters(e4srec(scale.size, data.items, device, E4SREC_ROW))
    run = Inference(network, batched, *budget_steps(batched, MOST_TOKENS[device.type], PREFIX_ROW))
    parts[E4SREC_ROW] = Part(run, len(batched), data.users)
    single = instances(lengths.sample(data.inference_items, scale.published_users), data.items, scale.published_users)
    network = e4srec(scale.size, data.items, device, E4SREC_PUBLISHED)
    parts[E4SREC_PUBLISHED] = Part(Inference(network, single, *random_steps(single, 1)), len(single), data.users)
    return parts


def measure_parts(title: str, parts: dict[str, Part], name: str, scale: Scale, report: Report) -> None:
    """Time the parts, scale them to the whole, and compare with TSLRec."""
    taken = interleaved({contender: part.run for contender, part in parts.items()}, scale.rounds, torch.device("cpu"))
    whole = {contender: taken[contender] * part.whole / part.sample for contender, part in parts.items()}
    rows = [
        {
            "contender": contender,
            "prompts timed": part.sample,
            "seconds": taken[contender],
            "prompts in all": part.whole,
            "seconds in all, scaled": whole[contender],
        }
        for contender, part in parts.items()
    ]
    report.add_table(title, rows)
    report.add_ratios({name + suffix: whole[rival] / whole[TSLREC] for rival, suffix in RIVALS.items()})


def measure(scale: Scale, report: Report, device: torch.device) -> None:
    """Training and inference on all datasets."""
    report.note("TSLRec's prompts are users in training and items in inference; E4SRec's are interactions and users")
    for case in scale.cases:
        data = lengths.load(case)
        measure_parts(f"{case}: training epoch", training_parts(data, scale, device), f"train_{case}", scale, report)
        measure_parts(f"{case}: inference", inference_parts(data, scale, device), f"infer_{case}", scale, report)


def main() -> None:
    """Measure on the CPU."""
    chosen = arguments(__doc__).parse_args()
    report = Report("fig3", chosen.json)
    say(f"{report.name}{', quick' if chosen.quick else ''}")
    measure(QUICK if chosen.quick else Scale(), report, torch.device("cpu"))


if __name__ == "__main__":
    sys.exit(main())
