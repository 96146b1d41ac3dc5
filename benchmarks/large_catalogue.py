"""Training over a million items: seconds of a step and peak memory for each loss, each in a process of its own.

SASRec (d = 64) with RecBole's defaults, batches of 1,024 prefixes of at most 20 items. The full cross entropy would
hold 1,024 x 1,000,000 scores, 3.8 GiB, and its gradient as much again, besides the weights, their gradients and Adam's
moments (1 GiB); it is computed in chunks. The sampled losses draw 1,024 items a step.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import interactions
from contenders import PREFIX, ring
from measure import Report, arguments, say

LOSSES = ("CE", "sampled_softmax", "gBCE")
_LENGTHS = (10, 31)  # of a user's history


@dataclass(frozen=True)
class Scale:
    """How much is measured.

    Attributes:
        items: N.
        users: whose histories are trained on.
        steps: that count; one before them does not.
        settings: over RecBole's defaults.
    """

    items: int = 1_000_000
    users: int = 20_000
    steps: int = 3
    settings: Mapping[str, Any] = field(default_factory=dict)


QUICK = Scale(items=100_000, users=2_000)


def measure(scale: Scale, report: Report) -> None:
    """A row for each loss."""
    length = np.resize(np.arange(*_LENGTHS), scale.users)
    user, item = interactions.walk(length, scale.items, steps=(1, 2, 3), jumps=0.1)
    rows = []
    for loss in LOSSES:
        columns = {"inter": ["user_id", "item_id", "timestamp"], "item": ["item_id"]}
        settings = {"MAX_ITEM_LIST_LENGTH": 20, "loss_type": loss, "load_col": columns, **scale.settings}
        with ring("catalogue", settings) as place:
            interactions.write(place.folder, "catalogue", user, item, scale.items)
            contender = place.start(PREFIX)
            contender.ask("steps", count=1)
            seconds = contender.ask("steps", count=scale.steps) / scale.steps
            peak = contender.ask("peak_bytes") / 2**20
        rows.append({"loss_type": loss, "seconds a step": seconds, "peak MiB of the process": peak})
        report.add_table(f"training over {scale.items:,} items, batches of 1,024", rows)
    report.add_ratios({"sampled_step": rows[0]["seconds a step"] / rows[1]["seconds a step"]})


def main() -> None:
    """Measure on the CPU."""
    chosen = arguments(__doc__).parse_args()
    report = Report("large_catalogue", chosen.json)
    say(f"{report.name}{', quick' if chosen.quick else ''}")
    measure(QUICK if chosen.quick else Scale(), report)


if __name__ == "__main__":
    sys.exit(main())
