"""A training step of Caser at length 50: the package against stock RecBole 1.2.1 on the same data in the same run.

RecBole's defaults (d = 64, 8 horizontal and 4 vertical filters, cross entropy) and batches of 1,024 prefixes; as many
users and items, and as long histories, as Beauty has. Each contender runs in a process of its own, and their steps take
turns.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

import interactions
from contenders import PREFIX, STOCK, check_same_data, ring
from measure import Report, arguments, say
from recbole_tslrec.sft.timing import interleaved

_CPU = torch.device("cpu")


@dataclass(frozen=True)
class Scale:
    """How much is measured.

    Attributes:
        share: of Beauty's users and items.
        rounds: that count.
        steps: in a round.
        settings: over RecBole's defaults.
    """

    share: float = 1.0
    rounds: int = 5
    steps: int = 2
    settings: Mapping[str, Any] = field(default_factory=dict)


QUICK = Scale(rounds=1, steps=1)


def measure(scale: Scale, report: Report) -> None:
    """A row for each contender, in float32 and under bfloat16's autocast."""
    for name, amp in {"fp32": False, "bf16": True}.items():
        settings = {"MAX_ITEM_LIST_LENGTH": 50, "enable_amp": amp, **scale.settings}
        with ring("beauty", settings) as place:
            report.note(f"beauty is {interactions.provide(place.folder, 'beauty', scale.share)}")
            started = {contender: place.start(contender, "Caser") for contender in (STOCK, PREFIX)}
            check_same_data(started)
            runs = {contender: one.steps(scale.steps) for contender, one in started.items()}
            seconds = interleaved(runs, scale.rounds, _CPU)
        rows = [{"contender": contender, "seconds a step": seconds[contender] / scale.steps} for contender in runs]
        report.add_table(f"a training step of Caser, {name}", rows)
        report.add_ratios({f"caser_step_{name}": seconds[STOCK] / seconds[PREFIX]})


def main() -> None:
    """Measure on the CPU."""
    chosen = arguments(__doc__).parse_args()
    report = Report("caser", chosen.json)
    say(f"{report.name}{', quick' if chosen.quick else ''}")
    measure(QUICK if chosen.quick else Scale(), report)


if __name__ == "__main__":
    sys.exit(main())
