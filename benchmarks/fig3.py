"""Figure 3 of the paper: the LLM's seconds for a training epoch and for inference, TSLRec against E4SRec.

The contenders are those of ``recbole_tslrec.experiments.llm_time``, which ``report fig3`` times with a configured LLM.
All have the same LLM here, of random weights and with adapters, in float32.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch

import lengths
from measure import Report, arguments, say
from models import SMALL, LLMSize, build_llm, build_network
from recbole_tslrec.baselines.e4srec import MiddlePadded, NextItemObjective
from recbole_tslrec.experiments.llm_time import (
    E4SREC,
    E4SREC_PUBLISHED,
    E4SREC_ROW,
    TSLREC,
    Place,
    Sample,
    Taken,
    time_inference,
    time_training,
)
from recbole_tslrec.llm.encoder import PromptEncoder
from recbole_tslrec.llm.settings import PADDED, PREFIX_ROW
from recbole_tslrec.sft.network import PromptNetwork

RIVALS = {E4SREC: "", E4SREC_ROW: "_both_prefix_row", E4SREC_PUBLISHED: "_published"}  # suffix of the ratio's name


@dataclass(frozen=True)
class Scale:
    """How much is measured.

    Attributes:
        size: of the LLM.
        sample: of the prompts.
        cases: of :data:`lengths.CASES`.
    """

    size: LLMSize = SMALL
    sample: Sample = field(default_factory=Sample)
    cases: Sequence[str] = ("beauty", "ml1m")


QUICK = Scale(
    sample=Sample(
        prompts=64, batch_size=32, published_batches=2, published_users=16, items=1024, rounds=2, budgets=(1024,)
    )
)


def place(size: LLMSize, device: torch.device) -> Place:
    """Where all run: an LLM of that size on the device."""

    def build(contender: str, items: int) -> PromptNetwork:
        llm = build_llm(size, device)
        if contender == TSLREC:
            return build_network(llm, size, items, device)
        encoder_class: type[PromptEncoder] = MiddlePadded if contender == E4SREC_PUBLISHED else PromptEncoder
        layout = PREFIX_ROW if contender == E4SREC_ROW else PADDED
        return build_network(llm, size, items, device, layout, None, encoder_class, NextItemObjective(items))

    return Place(build, device)


def add_case(title: str, name: str, taken: Mapping[str, Taken], report: Report) -> None:
    """The rows of a dataset, and how much longer than TSLRec the others take."""
    rows = [
        {
            "contender": contender,
            "prompts timed": one.sample,
            "seconds": one.seconds,
            "prompts in all": one.whole,
            "seconds in all, scaled": one.scaled.seconds,
        }
        for contender, one in taken.items()
    ]
    report.add_table(title, rows)
    seconds = {contender: one.scaled.seconds for contender, one in taken.items()}
    report.add_ratios({name + suffix: seconds[rival] / seconds[TSLREC] for rival, suffix in RIVALS.items()})


def measure(scale: Scale, report: Report, device: torch.device) -> None:
    """Training and inference on all datasets."""
    report.note("TSLRec's prompts are users in training and items in inference; E4SRec's are interactions and users")
    where = place(scale.size, device)
    for case in scale.cases:
        data = lengths.load(case)
        add_case(f"{case}: training epoch", f"train_{case}", time_training(data, scale.sample, where), report)
        add_case(f"{case}: inference", f"infer_{case}", time_inference(data, scale.sample, where), report)


def main() -> None:
    """Measure on the CPU."""
    chosen = arguments(__doc__).parse_args()
    report = Report("fig3", chosen.json)
    say(f"{report.name}{', quick' if chosen.quick else ''}")
    measure(QUICK if chosen.quick else Scale(), report, torch.device("cpu"))


if __name__ == "__main__":
    sys.exit(main())
