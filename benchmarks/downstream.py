"""Training a recommender: the package against stock RecBole 1.2.1 on the same data in the same run.

SASRec with RecBole's defaults (d = 64, two layers, two heads, dropout 0.5, cross entropy) and batches of 1,024. Each
contender runs in a process of its own (``trial.py``) through RecBole's own training loop, and their steps take turns:

stock          RecBole as it is installed.
prefix         The package with train_mode prefix: stock's rows and results.
all positions  The package with train_mode all_positions: 1,024 targets a batch, a pass for all prefixes of a history.

Without --data_path users walk at random: as many users and items as Beauty and ml-1m have, and as long histories. The
longest part, the validations of train_mode prefix, is taken from the file of --json where an earlier run left it there.
"""

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

import interactions
import lengths
from contenders import ALL_POSITIONS, PREFIX, STOCK, Contender, Ring, check_same_data, ring, run_epochs
from gates import Gate, measure_gate, write_knowledge
from measure import Report, arguments, say
from recbole_tslrec.sft.timing import interleaved
from trial import TrialFailed

_CPU = torch.device("cpu")
CURVE = "validation of train_mode prefix by epoch"


@dataclass(frozen=True)
class Scale:
    """How much is measured.

    Attributes:
        settings: over RecBole's defaults.
        share: of the users of the datasets.
        rounds: that count, where steps take turns.
        steps: in a round.
        best_share: of the users for the time to the best validation.
        stock_epochs: of stock RecBole that are measured there.
        max_epochs: the most of prefix there; all positions, whose epochs are short, may take twice as many.
        stopping_step: epochs without a better validation before it stops there; RecBole's default.
        long_steps: at length 200, from which stock's epoch is computed.
        whole_epoch: whether the package's epoch at length 200 is run, or computed in the same way.
        knowledge_size: H.
        gates: Base steps that are compared with those of TSLRec.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    share: float = 1.0
    rounds: int = 5
    steps: int = 5
    best_share: float = 1.0
    stock_epochs: int = 2
    max_epochs: int = 300
    stopping_step: int = 10
    long_steps: int = 4
    whole_epoch: bool = True
    knowledge_size: int = 4096
    gates: Sequence[Gate] = (Gate(), Gate(amp=False), Gate(ALL_POSITIONS))


QUICK = Scale(
    rounds=2, steps=1, best_share=0.05, stock_epochs=1, max_epochs=10, long_steps=1, whole_epoch=False, gates=(Gate(),)
)


@dataclass
class Bench:
    """What every part needs.

    Attributes:
        scale: how much is measured.
        report: where to.
        given: the folder of given ``.inter`` files, or ``None``.
        former: the tables of an earlier run, by title.
    """

    scale: Scale
    report: Report
    given: Path | None = None
    former: Mapping[str, list[dict[str, Any]]] = field(default_factory=dict)

    @contextmanager
    def ring(self, case: str, share: float) -> Iterator[tuple[Ring, str]]:
        """Where contenders meet over a case of :data:`lengths.CASES`, and what its data is."""
        dataset, longest = lengths.CASES[case]
        with ring(dataset, {"MAX_ITEM_LIST_LENGTH": longest, **self.scale.settings}) as place:
            data = interactions.provide(place.folder, case, share, self.given)
            self.report.note(f"{dataset} is {data}")
            yield place, data


def measure_prefix_step(bench: Bench) -> None:
    """Seconds of a training step at length 50: stock's over those of ``prefix``."""
    scale = bench.scale
    with bench.ring("beauty", scale.share) as (place, _):
        started = {name: place.start(name) for name in (STOCK, PREFIX, ALL_POSITIONS)}
        check_same_data(started)
        runs = {name: one.steps(scale.steps) for name, one in started.items()}
        seconds = interleaved(runs, scale.rounds, _CPU)
    rows = [
        {"contender": name, "seconds a step": seconds[name] / scale.steps, **prepared(one)}
        for name, one in started.items()
    ]
    bench.report.add_table("a training step, Beauty, length 50", rows)
    bench.report.add_ratios({"prefix_step": seconds[STOCK] / seconds[PREFIX]})


def prepared(contender: Contender) -> dict[str, Any]:
    """Columns of what a contender said after it had prepared."""
    facts = contender.facts
    columns = ("users", "items", "targets", "anomaly mode")
    return {"seconds to prepare": facts["seconds"], "steps an epoch": facts["steps"], **{c: facts[c] for c in columns}}


def measure_time_to_best(bench: Bench) -> None:
    """Seconds until stock's best validation NDCG@10 is reached."""
    scale, report = bench.scale, bench.report
    with bench.ring("beauty", scale.best_share) as (place, data):
        stock = place.start(STOCK)
        stock_rows = run_epochs(stock, scale.stock_epochs, scale.stopping_step)
        report.add_table("stock RecBole, its first epochs", stock_rows)
        curve = prefix_curve(place, data, bench)
        best = max(row["NDCG@10"] for row in curve)
        ours = place.start(ALL_POSITIONS)
        check_same_data({STOCK: stock, ALL_POSITIONS: ours})
        rows = run_epochs(ours, 2 * scale.max_epochs, scale.stopping_step, until=best)
    report.add_table("train_mode all_positions, until it has reached stock's best validation", rows)
    best_epoch = next(row["epoch"] for row in curve if row["NDCG@10"] == best)
    epoch = sum(row["seconds"] for row in stock_rows) / len(stock_rows)
    stock_seconds = stock.facts["seconds"] + best_epoch * epoch
    seconds = ours.facts["seconds"] + sum(row["seconds"] for row in rows)
    apart = max(abs(one["NDCG@10"] - other["NDCG@10"]) for one, other in zip(stock_rows, curve, strict=False))
    report.note(
        f"stock's {stock_seconds:.1f} s to its best validation are computed: {stock.facts['seconds']:.1f} s to prepare "
        f"and {best_epoch} epochs of {epoch:.1f} s, the mean of the {len(stock_rows)} that were run. That epoch "
        f"{best_epoch} is the best (NDCG@10 {best}) is known from train_mode prefix, which gives stock's results: in "
        f"the epochs that both ran NDCG@10 differs by {apart:.4f} at most"
    )
    reached = rows[-1]["NDCG@10"] >= best
    end = "which has reached it" if reached else "which has NOT reached it: the ratio is 0"
    report.note(f"all positions: {seconds:.1f} s for {len(rows)} epochs, measured, {end}")
    report.add_ratios({"beauty_time_to_recbole_best": stock_seconds / seconds if reached else 0.0})


def prefix_curve(place: Ring, data: str, bench: Bench) -> list[dict[str, Any]]:
    """The validations of ``prefix`` until they get no better, or those of an earlier run on the same data."""
    scale = bench.scale
    title = f"{CURVE}, on {data}, at most {scale.max_epochs} epochs"
    rows = bench.former.get(title)
    if rows is None:
        rows = run_epochs(place.start(PREFIX), scale.max_epochs, scale.stopping_step)
    else:
        bench.report.note(f"the {CURVE} is that of an earlier run, which the JSON file held")
    bench.report.add_table(title, rows)
    return rows


def measure_long_histories(bench: Bench) -> None:
    """An epoch of ml-1m at length 200, and the peak memory of preparing and a few steps: stock over all positions."""
    scale, report = bench.scale, bench.report
    found: dict[str, dict[str, Any]] = {}
    contenders: dict[str, Contender] = {}
    for name in (STOCK, ALL_POSITIONS):  # one after the other: both would not fit into the memory of every machine
        with bench.ring("ml1m_long", scale.share) as (place, _):
            contender = contenders[name] = place.start(name)
            contender.ask("steps", count=1)  # the first is slower
            step = contender.ask("steps", count=scale.long_steps) / scale.long_steps
            peak = contender.ask("peak_bytes")
            runs = name == ALL_POSITIONS and scale.whole_epoch
            epoch = contender.ask("epoch") if runs else step * contender.facts["steps"]
            found[name] = {"seconds a step": step, "seconds an epoch": epoch, "epoch is": "run" if runs else "computed"}
            found[name] |= {"peak MiB": peak / 2**20, **prepared(contender)}
    check_same_data(contenders)
    report.add_table("ml-1m, length 200", [{"contender": name, **row} for name, row in found.items()])
    report.note(f"a computed epoch is its number of steps times the mean of {scale.long_steps} that were run")
    report.note("ml1m_epoch counts the seconds to prepare; peak memory is that of the process, before the epoch")
    total = {name: row["seconds to prepare"] + row["seconds an epoch"] for name, row in found.items()}
    report.add_ratios(
        {
            "ml1m_epoch": total[STOCK] / total[ALL_POSITIONS],
            "ml1m_peak_memory": found[STOCK]["peak MiB"] / found[ALL_POSITIONS]["peak MiB"],
        }
    )


def measure_gates(bench: Bench) -> None:
    """Steps of TSLRecSASRec over those of SASRec."""
    scale = bench.scale
    with bench.ring("beauty", scale.share) as (place, _):
        knowledge = write_knowledge(place, scale.knowledge_size)
        for gate in scale.gates:
            measure_gate(place, gate, knowledge, scale.steps, scale.rounds, bench.report)


PARTS: Mapping[str, Callable[[Bench], None]] = {
    "step": measure_prefix_step,
    "gate": measure_gates,
    "long histories": measure_long_histories,
    "time to best": measure_time_to_best,
}


def measure(bench: Bench) -> None:
    """All parts, the longest last; one that fails leaves the others."""
    bench.report.note("a step is RecBole's own loop: the batch is loaded, forward, backward, optimizer")
    bench.report.note("stock RecBole trains in torch's anomaly mode, since it imports SINE; that is part of what it is")
    for name, part in PARTS.items():
        say(f"\n{name}")
        try:
            part(bench)
        except TrialFailed as error:
            bench.report.failures[name] = str(error)
            say(f"FAILED {name}: {error}")
            bench.report.write()


def former_tables(path: Path | None) -> dict[str, list[dict[str, Any]]]:
    """The tables of a JSON file that an earlier run wrote."""
    return dict(json.loads(path.read_text())["tables"]) if path and path.exists() else {}


def main() -> None:
    """Measure on the CPU."""
    parser = arguments(__doc__)
    parser.add_argument("--data_path", type=Path, help="folder with beauty/beauty.inter and ml-1m/ml-1m.inter")
    parser.add_argument("--max_epochs", type=int, help="of train_mode prefix, for the time to the best validation")
    chosen = parser.parse_args()
    scale = QUICK if chosen.quick else Scale()
    if chosen.max_epochs:
        scale = replace(scale, max_epochs=chosen.max_epochs)
    for case in ("beauty", "ml1m_long") if chosen.data_path else ():
        interactions.given_file(chosen.data_path, case)  # before hours of work
    report = Report("downstream", chosen.json)
    say(f"{report.name}{', quick' if chosen.quick else ''}")
    measure(Bench(scale, report, chosen.data_path, former_tables(chosen.json)))


if __name__ == "__main__":
    sys.exit(main())
