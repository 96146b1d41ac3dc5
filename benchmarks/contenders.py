"""Stock RecBole and the package on one dataset, each in a process of its own."""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trial import Process, TrialFailed

STOCK, PREFIX, ALL_POSITIONS = "stock", "prefix", "all positions"
_HERE = Path(__file__).parent
_SCRIPTS = {STOCK: _HERE / "stock.py", PREFIX: _HERE / "ours.py", ALL_POSITIONS: _HERE / "ours.py"}
_MODES: Mapping[str, Mapping[str, Any]] = {
    STOCK: {},
    PREFIX: {"train_mode": "prefix", "minimum_epochs": 0},
    ALL_POSITIONS: {"train_mode": "all_positions", "minimum_epochs": 0},
}
# the rest is RecBole's default for SASRec: d = 64, two layers, two heads, dropout 0.5, leave-one-out, full ranking
SETTINGS: Mapping[str, Any] = {
    "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
    "loss_type": "CE",
    "train_neg_sample_args": None,
    "train_batch_size": 1024,
    "learning_rate": 1e-3,
    "hidden_dropout_prob": 0.5,  # of ml-1m this package has another default
    "attn_dropout_prob": 0.5,
    "epochs": 300,
    "stopping_step": 10,
    "eval_batch_size": 4096,
    "metrics": ["Hit", "NDCG"],
    "topk": [5, 10],
    "valid_metric": "NDCG@10",
    "use_gpu": False,
    "show_progress": False,
}


@dataclass
class Contender:
    """A process that has prepared its data and its model.

    Attributes:
        process: which trains and evaluates.
        facts: what it said of itself; see ``Trial.prepare``.
    """

    process: Process
    facts: Mapping[str, Any]

    def ask(self, task: str, **arguments: Any) -> Any:
        """See :meth:`trial.Process.ask`."""
        return self.process.ask(task, **arguments)

    def steps(self, count: int) -> Callable[[], object]:
        """A run of ``count`` training steps, for :func:`measure.interleaved`."""
        return lambda: self.ask("steps", count=count)


@dataclass
class Ring:
    """Where contenders meet.

    Attributes:
        folder: RecBole's ``data_path``.
        dataset: its name.
        settings: over :data:`SETTINGS`.
        processes: ends them.
    """

    folder: Path
    dataset: str
    settings: Mapping[str, Any]
    processes: ExitStack

    def start(self, name: str, model: str = "SASRec", **settings: Any) -> Contender:
        """Start a contender and let it prepare.

        Args:
            name: one of the three.
            model: a model's name.
            settings: over those of all contenders.
        """
        home = Path(tempfile.mkdtemp(dir=self.folder))
        process = self.processes.enter_context(Process(_SCRIPTS[name], home))
        every = {"data_path": str(self.folder), **SETTINGS, **self.settings, **_MODES[name], **settings}
        return Contender(process, process.ask("prepare", model=model, dataset=self.dataset, settings=every))


@contextmanager
def ring(dataset: str, settings: Mapping[str, Any]) -> Iterator[Ring]:
    """A folder for a dataset's files and for processes, which all end with it."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as processes:
        yield Ring(Path(folder), dataset, settings, processes)


def check_same_data(contenders: Mapping[str, Contender]) -> None:
    """Refuse to compare contenders with different data, or a stock RecBole that is none.

    Raises:
        TrialFailed: they count different users, items or targets, or the process of stock imported the package.
    """
    counts = {name: [one.facts[key] for key in ("users", "items", "targets")] for name, one in contenders.items()}
    if len({tuple(found) for found in counts.values()}) > 1:
        raise TrialFailed(f"the contenders see different data (users, items, targets): {counts}")
    if any(one.facts["imports recbole_tslrec"] for name, one in contenders.items() if name == STOCK):
        raise TrialFailed("the process of stock RecBole has imported recbole_tslrec, which changes it")


def run_epochs(
    contender: Contender, most: int, stopping_step: int, until: float = float("inf")
) -> list[dict[str, Any]]:
    """Train and validate, as ``Trainer.fit`` does, until a validation is reached or no better one comes.

    Args:
        contender: freshly prepared.
        most: epochs.
        stopping_step: epochs without a better NDCG@10 before it stops.
        until: the NDCG@10 that is enough.

    Returns:
        A row for each epoch; its seconds are those of training and validation.
    """
    rows: list[dict[str, Any]] = []
    best, waited = float("-inf"), 0
    for epoch in range(1, most + 1):
        training = contender.ask("epoch")
        found = contender.ask("validate")
        score = found["score"]
        rows.append({"epoch": epoch, "NDCG@10": score, "seconds": training + found["seconds"]})
        waited = 0 if score >= best else waited + 1  # to RecBole an equal one is better
        best = max(best, score)
        if score >= until or waited > stopping_step:
            break
    return rows
