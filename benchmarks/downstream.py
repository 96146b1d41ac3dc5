"""Training a recommender: the package against stock RecBole 1.2.1 on the same data in the same run.

SASRec with RecBole's defaults (d = 64, two layers, two heads, dropout 0.5, cross entropy) and batches of 1,024. Each
contender runs in a process of its own (``trial.py``) through RecBole's own training loop, and their steps take turns:

stock          RecBole as it is installed.
prefix         The package with train_mode prefix: stock's rows and results.
all positions  The package with train_mode all_positions: 1,024 targets a batch, a pass for all prefixes of a history.

Without --data_path users walk at random: as many users and items as Beauty and ml-1m have, and as long histories.
"""

import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

import interactions
import lengths
from measure import Report, arguments, interleaved, say
from recbole_tslrec.artifacts import Recipe, Store, write_item_table
from trial import Process, TrialFailed

STOCK, PREFIX, ALL_POSITIONS = "stock", "prefix", "all positions"
_HERE = Path(__file__).parent
_SCRIPTS = {STOCK: _HERE / "stock.py", PREFIX: _HERE / "ours.py", ALL_POSITIONS: _HERE / "ours.py"}
_MODES = {STOCK: {}, PREFIX: {"train_mode": "prefix"}, ALL_POSITIONS: {"train_mode": "all_positions"}}
_CPU = torch.device("cpu")
SETTINGS: Mapping[str, Any] = {
    "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
    "loss_type": "CE",
    "train_neg_sample_args": None,
    "train_batch_size": 1024,
    "metrics": ["Hit", "NDCG"],
    "topk": [5, 10],
    "valid_metric": "NDCG@10",
    "use_gpu": False,
    "show_progress": False,
}
CURVE = "validation of train_mode prefix by epoch"


@dataclass(frozen=True)
class Scale:
    """How much is measured.

    Attributes:
        settings: over RecBole's defaults and :data:`SETTINGS`.
        rounds: that count, where steps take turns.
        steps: in a round.
        share: of the data for the time to the best validation.
        stock_epochs: of stock RecBole that are measured there.
        max_epochs: the most that the package trains there.
        stopping_step: epochs without a better validation before it stops there; RecBole's default.
        long_steps: of stock RecBole at length 200, from which its epoch is computed.
        whole_epoch: whether the package's epoch at length 200 is run, or computed in the same way.
        knowledge_size: H.
        gates: rows of :data:`GATES` to measure.
        data_share: of the data everywhere else.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    rounds: int = 5
    steps: int = 5
    share: float = 1.0
    stock_epochs: int = 2
    max_epochs: int = 300
    stopping_step: int = 10
    long_steps: int = 4
    whole_epoch: bool = True
    knowledge_size: int = 4096
    gates: Sequence[tuple[str, str, bool]] = (
        ("", PREFIX, True),
        ("_fp32", PREFIX, False),
        ("_all_positions", ALL_POSITIONS, True),
    )
    data_share: float = 1.0


QUICK = Scale(
    rounds=2, steps=2, share=0.05, max_epochs=10, long_steps=2, whole_epoch=False, gates=(("", PREFIX, True),)
)


@dataclass
class Bench:
    """What every part needs.

    Attributes:
        scale: how much is measured.
        report: where to.
        given: the folder of given ``.inter`` files, or ``None``.
    """

    scale: Scale
    report: Report
    given: Path | None = None

    @contextmanager
    def trials(self, case: str, share: float) -> Iterator["Trials"]:
        """The data of a case in a temporary folder, and the processes that are started on it."""
        with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
            folder = Path(name)
            self.report.note(f"{case}: {interactions.provide(folder, case, share, self.given)}")
            yield Trials(case, folder, self.scale.settings, stack)


@dataclass
class Trials:
    """Processes on one dataset.

    Attributes:
        case: of :data:`lengths.CASES`.
        folder: RecBole's ``data_path``.
        settings: over RecBole's defaults and :data:`SETTINGS`.
        stack: which ends the processes.
    """

    case: str
    folder: Path
    settings: Mapping[str, Any]
    stack: ExitStack

    def start(self, contender: str, model: str = "SASRec", **settings: Any) -> tuple[Process, dict[str, Any]]:
        """A contender that has prepared its data and its model, and what it says of them."""
        home = self.folder / f"{contender}-{len(list(self.folder.iterdir()))}"
        home.mkdir()
        process = self.stack.enter_context(Process(_SCRIPTS[contender], home))
        dataset, longest = lengths.CASES[self.case]
        every = {"data_path": str(self.folder), "MAX_ITEM_LIST_LENGTH": longest}
        every |= {**SETTINGS, **self.settings, **_MODES[contender], **settings}
        return process, process.ask("prepare", model=model, dataset=dataset, settings=every)


def stepping(processes: Mapping[str, Process], count: int) -> dict[str, Callable[[], object]]:
    """Runs of ``count`` training steps for :func:`measure.interleaved`."""
    return {name: lambda process=process: process.ask("steps", count=count) for name, process in processes.items()}


def measure_prefix_step(bench: Bench) -> None:
    """Seconds of a training step at length 50: stock's over those of ``prefix``."""
    scale = bench.scale
    with bench.trials("beauty", scale.data_share) as trials:
        started = {name: trials.start(name) for name in (STOCK, PREFIX, ALL_POSITIONS)}
        seconds = interleaved(stepping({name: one for name, (one, _) in started.items()}, scale.steps), scale.rounds, _CPU)
    same_data({name: facts for name, (_, facts) in started.items()})
    rows = [
        {"contender": name, "seconds a step": seconds[name] / scale.steps, **facts}
        for name, (_, facts) in started.items()
    ]
    bench.report.add_table("a training step, Beauty, length 50 (seconds: of preparing data and model)", rows)
    bench.report.add_ratios({"prefix_step": seconds[STOCK] / seconds[PREFIX]})


def same_data(facts: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse to compare contenders that count different users, items or targets, or a stock that is none.

    Raises:
        TrialFailed: with the counts.
    """
    counts = {name: tuple(found[key] for key in ("users", "items", "targets")) for name, found in facts.items()}
    if len(set(counts.values())) > 1:
        raise TrialFailed(f"the contenders see different data (users, items, targets): {counts}")
    if facts[STOCK]["imports recbole_tslrec"]:
        raise TrialFailed("the process of stock RecBole has imported recbole_tslrec, which changes it")


def measure_time_to_best(bench: Bench) -> None:
    """Seconds until stock's best validation NDCG@10 is reached."""
    scale, report = bench.scale, bench.report
    with bench.trials("beauty", scale.share) as trials:
        stock, stock_facts = trials.start(STOCK)
        stock_epochs = run_epochs(stock, scale.stock_epochs, scale.stopping_step)
        curve = prefix_curve(trials, bench)
        best = max(row["NDCG@10"] for row in curve)
        best_epoch = next(row["epoch"] for row in curve if row["NDCG@10"] == best)
        ours, facts = trials.start(ALL_POSITIONS)
        epochs = run_epochs(ours, scale.max_epochs, scale.stopping_step, until=best)
    same_data({STOCK: stock_facts, ALL_POSITIONS: facts})
    report.add_table("validation of stock RecBole, its first epochs", stock_epochs)
    report.add_table("validation of train_mode all_positions until it reaches stock's best", epochs)
    epoch = sum(row["seconds"] for row in stock_epochs) / len(stock_epochs)
    stock_seconds = stock_facts["seconds"] + best_epoch * epoch
    seconds = facts["seconds"] + sum(row["seconds"] for row in epochs)
    reached = epochs[-1]["NDCG@10"] >= best
    report.note(
        f"stock's time to its best is computed: {stock_facts['seconds']:.1f} s to prepare and {best_epoch} epochs of "
        f"{epoch:.1f} s, the mean of {len(stock_epochs)} that were measured. That epoch {best_epoch} is its best "
        f"(NDCG@10 {best}) is known from train_mode prefix, trained until {scale.stopping_step} epochs brought no "
        f"better one or {scale.max_epochs} were done; the first epochs of both are in the tables"
    )
    end = f"at {epochs[-1]['NDCG@10']}, measured"
    report.note(f"train_mode all_positions: {seconds:.1f} s, {len(epochs)} epochs, {end}")
    if not reached:
        report.note(f"train_mode all_positions did not reach {best}: beauty_time_to_recbole_best is 0")
    report.add_ratios({"beauty_time_to_recbole_best": stock_seconds / seconds if reached else 0.0})


def run_epochs(
    process: Process, most: int, stopping_step: int, until: float = float("inf")
) -> list[dict[str, Any]]:
    """Train and validate, as ``Trainer.fit`` does, until a validation is reached or no better one comes.

    Args:
        process: prepared.
        most: epochs.
        stopping_step: epochs without a better NDCG@10 before it stops.
        until: NDCG@10 that is enough.

    Returns:
        A row for each epoch, whose seconds hold training and validation.
    """
    rows: list[dict[str, Any]] = []
    best, since = float("-inf"), 0
    for epoch in range(1, most + 1):
        training = process.ask("epoch")
        found = process.ask("validate")
        rows.append({"epoch": epoch, "NDCG@10": found["score"], "seconds": training + found["seconds"]})
        since = 0 if found["score"] >= best else since + 1  # RecBole counts an equal one as better
        best = max(best, found["score"])
        if found["score"] >= until or since > stopping_step:
            break
    return rows


def prefix_curve(trials: Trials, bench: Bench) -> list[dict[str, Any]]:
    """The validations of stock's training by ``prefix``; taken from the former file where it holds the same."""
    scale = bench.scale
    title = f"{CURVE}: {bench.report.notes[-1]}, {scale.max_epochs} epochs at most {dict(scale.settings) or ''}".strip()
    rows = former_table(bench.report.path, title)
    if rows:
        bench.report.note("the validations of train_mode prefix are from an earlier run, in the same file")
    else:
        process, _ = trials.start(PREFIX)
        rows = run_epochs(process, scale.max_epochs, scale.stopping_step)
    bench.report.add_table(title, rows)
    return rows
