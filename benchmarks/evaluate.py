"""Ranking a million items: the package's evaluation against stock RecBole 1.2.1 on the same weights and data.

A SASRec (d = 64) with random weights ranks every item for every user, each contender in a process of its own. RecBole
holds the scores of a batch of users and a matrix of the same shape that marks the targets, so its batch size is the
largest power of two with which it stays below 8 GiB; the package evaluates with the same setting. Half of the users'
next items are their last ones again, which random weights rank high, so that the metrics say something.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

import interactions
from contenders import PREFIX, STOCK, Contender, check_same_data, ring
from measure import Report, arguments, say
from recbole_tslrec.sft.timing import interleaved
from trial import TrialFailed

OURS = "recbole_tslrec"
_NAME = "catalogue"
_MOST_BYTES = 8 * 2**30
_BYTES_A_SCORE = 20  # by which stock RecBole's peak grows, measured
_LENGTHS = (5, 10)  # of a user's history


@dataclass(frozen=True)
class Scale:
    """How much is measured.

    Attributes:
        items: N.
        users: whose next items are ranked.
        rounds: of the evaluation that count.
        settings: over RecBole's defaults.
    """

    items: int = 1_000_000
    users: int = 10_000
    rounds: int = 1
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def batch(self) -> int:
        """The largest power of two of users a batch with which stock RecBole holds less than 8 GiB."""
        return 2 ** int(np.log2(min(self.users, _MOST_BYTES / (_BYTES_A_SCORE * self.items))))


QUICK = Scale(items=100_000, users=1_000, rounds=2)


def measure(scale: Scale, report: Report) -> None:
    """Peak memory, then seconds in turns, and whether the metrics agree."""
    length = np.resize(np.arange(*_LENGTHS), scale.users)
    user, item = interactions.walk(length, scale.items, steps=(0,), jumps=0.5)
    settings = {
        "load_col": {"inter": ["user_id", "item_id", "timestamp"], "item": ["item_id"]},
        "eval_batch_size": scale.batch,
        "metric_decimal_place": 10,
        **scale.settings,
    }
    with ring(_NAME, settings) as place:
        interactions.write(place.folder, _NAME, user, item, scale.items)
        contenders = {STOCK: place.start(STOCK), OURS: place.start(PREFIX)}
        check_same_data(contenders)
        weights = str(place.folder / "weights.safetensors")
        contenders[STOCK].ask("write_weights", path=weights)
        contenders[OURS].ask("read_weights", path=weights)
        compare(contenders, scale, report)


def compare(contenders: Mapping[str, Contender], scale: Scale, report: Report) -> None:
    """The figures of contenders with the same data and weights."""
    peaks = {name: one.ask("validation_bytes") for name, one in contenders.items()}  # the warm-up, too
    found: dict[str, dict[str, Any]] = {}

    def run(name: str) -> None:
        found[name] = contenders[name].ask("validate")["metrics"]

    runs = {name: lambda name=name: run(name) for name in contenders}
    seconds = interleaved(runs, scale.rounds, torch.device("cpu"), warm_up=False)
    rows = [
        {"contender": name, "seconds": seconds[name], "peak MiB": peaks[name] / 2**20, **found[name]}
        for name in contenders
    ]
    title = f"evaluation of {scale.users:,} users over {scale.items:,} items, eval_batch_size {scale.batch}"
    report.add_table(title, rows)
    report.note("peak MiB is what the process grows by while it evaluates")
    report.add_ratios({"peak_memory": peaks[STOCK] / peaks[OURS], "seconds": seconds[STOCK] / seconds[OURS]})
    difference = largest_difference(found[STOCK], found[OURS])
    report.note(f"the largest difference of a metric is {difference:.2g}")
    report.write()
    if difference > 1 / scale.users:
        raise TrialFailed("the metrics differ by more than one user could explain, whose scores were rounded otherwise")


def largest_difference(stock: Mapping[str, float], ours: Mapping[str, float]) -> float:
    """Between the metrics of both.

    Raises:
        TrialFailed: they are not named alike, or are all zero, so that their difference says nothing.
    """
    if stock.keys() != ours.keys() or not all(stock.values()):
        raise TrialFailed(f"metrics that cannot be compared: {dict(stock)} and {dict(ours)}")
    return max(abs(stock[name] - ours[name]) for name in stock)


def main() -> None:
    """Measure on the CPU."""
    chosen = arguments(__doc__).parse_args()
    report = Report("evaluate", chosen.json)
    say(f"{report.name}{', quick' if chosen.quick else ''}")
    try:
        measure(QUICK if chosen.quick else Scale(), report)
    except TrialFailed as error:
        report.failures["evaluate"] = str(error)
        report.write()
        raise


if __name__ == "__main__":
    sys.exit(main())
