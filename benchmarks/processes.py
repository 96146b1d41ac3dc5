"""Training and ranking a recommender with two processes of one thread each, over one process of one thread.

SASRec (d = 128, two layers, no dropout) at all positions, over 20,000 users who walk through 5,000 items: batches of
2,048 targets and the full cross entropy, so that the gradients which are exchanged, 5 MiB a step, are small beside what
is computed. One process and two take turns, each time started anew as ``accelerate launch`` starts them; the fastest
run of each counts. Both must come to the same loss and the same ranks.
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

import interactions
from measure import Report, arguments

_LENGTHS = (12, 33)  # of a user's history
_NAME = "walks"


@dataclass(frozen=True)
class Scale:
    """How much is measured.

    Attributes:
        users: who are ranked for.
        items: N.
        hidden_size: d.
        steps: of training, timed together.
        turns: how often one process and two are started.
        repeats: timed runs in a turn; one before them does not count.
    """

    users: int = 20_000
    items: int = 5_000
    hidden_size: int = 128
    steps: int = 12
    turns: int = 3
    repeats: int = 3


QUICK = Scale(users=4_000, items=2_000, steps=6, turns=1, repeats=2)


def two_processes_training(folder: Path, scale: Scale, report: Report) -> float:
    """Seconds of some steps in one process over those in two."""
    return _ratio("training", folder, scale, report)


def two_processes_ranking(folder: Path, scale: Scale, report: Report) -> float:
    """Seconds of ranking all test items in every history mode in one process over those in two."""
    return _ratio("ranking", folder, scale, report)


def measure(scale: Scale, report: Report) -> None:
    """Both ratios."""
    with tempfile.TemporaryDirectory() as folder:
        write_walks(Path(folder), scale)
        training = two_processes_training(Path(folder), scale, report)
        report.add_ratios({"two_processes_training": training})
        report.add_ratios({"two_processes_ranking": two_processes_ranking(Path(folder), scale, report)})


def write_walks(folder: Path, scale: Scale) -> None:
    """Write the dataset below ``folder``."""
    length = np.resize(np.arange(*_LENGTHS), scale.users)
    user, item = interactions.walk(length, scale.items, steps=(1, 2, 3), jumps=0.1)
    interactions.write(folder, _NAME, user, item)


def _ratio(task: str, folder: Path, scale: Scale, report: Report) -> float:
    found: dict[int, list[dict[str, Any]]] = {1: [], 2: []}
    for _ in range(scale.turns):
        for processes, turns in found.items():
            turns.append(_launch(task, folder, scale, processes))
    results = {str(turn["result"]) for turns in found.values() for turn in turns}
    if len(results) > 1:
        report.failures[task] = f"one process and two differ: {', '.join(sorted(results))}"
    seconds = {processes: min(min(turn["seconds"]) for turn in turns) for processes, turns in found.items()}
    rows = [
        {
            "processes": processes,
            "seconds": seconds[processes],
            "CPU seconds of each": min(min(turn["cpu_seconds"]) for turn in turns),
            "slowest turn": max(min(turn["seconds"]) for turn in turns),
        }
        for processes, turns in found.items()
    ]
    report.add_table(f"{task}: {scale.users:,} users, {scale.items:,} items", rows)
    return seconds[1] / seconds[2]


def _launch(task: str, folder: Path, scale: Scale, processes: int) -> dict[str, Any]:
    """What the main one of some processes has found, each of one thread."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    home = Path(__file__).resolve().parents[1]
    environment = {**os.environ, **address, "OMP_NUM_THREADS": "1", "WORLD_SIZE": str(processes)}
    environment["PYTHONPATH"] = f"{home}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    command = [sys.executable, str(Path(__file__).resolve()), "--worker", task, json.dumps(asdict(scale)), str(folder)]
    started = [
        subprocess.Popen(
            command,
            env={**environment, "RANK": rank, "LOCAL_RANK": rank},
            cwd=folder,
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in map(str, range(processes))
    ]
    said = [process.communicate()[0] for process in started]
    if any(process.returncode for process in started):
        raise RuntimeError(f"{processes} processes could not measure {task}; what they said is above")
    return dict(json.loads(said[0].splitlines()[-1]))


class _Beginning:
    """The first batches of a loader's next epoch."""

    def __init__(self, loader: Any, steps: int) -> None:
        self.loader, self.steps = loader, steps

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[Any]:
        return islice(iter(self.loader), self.steps)


def work(task: str, scale: Scale, folder: Path) -> None:
    """What each process does."""
    import torch

    from recbole_tslrec.compute import distributed
    from recbole_tslrec.configuration.config import Config
    from recbole_tslrec.data.dataset import Data
    from recbole_tslrec.evaluation.held_out import held_out
    from recbole_tslrec.evaluation.trained_model import rank_held_out
    from recbole_tslrec.training.recommender import RecommenderTrainer, build_model

    torch.set_num_threads(1)
    settings = {
        "data_path": str(folder),
        "hidden_size": scale.hidden_size,
        "inner_size": 4 * scale.hidden_size,
        "hidden_dropout_prob": 0.0,
        "attn_dropout_prob": 0.0,
        "train_mode": "all_positions",
        "train_batch_size": 2048,
        "use_gpu": False,
        "show_progress": False,
    }
    config = Config("SASRec", _NAME, [], settings)
    distributed.join(config["device"])
    data = Data(config)
    train_data, _, _ = data.loaders
    trainer = RecommenderTrainer(config, build_model(config, train_data))
    rows = held_out(data, "test")
    if distributed.process_count() > 1 and task == "training":
        trainer.share_steps(reads_all=True)

    def run() -> str:
        if task == "training":
            return f"{trainer._train_epoch(_Beginning(train_data, scale.steps), 0):.4f}"
        ranks = rank_held_out(trainer.model, rows, share=distributed.own_share())
        return f"{ranks.unmasked.sum()} {ranks.seen_before.sum()}"

    seconds, cpu_seconds, results = [], [], []
    for _ in range(scale.repeats + 1):
        distributed.wait_for_everyone()
        start, start_cpu = time.perf_counter(), time.process_time()
        results.append(run())
        seconds.append(time.perf_counter() - start)
        cpu_seconds.append(max(distributed.gather(time.process_time() - start_cpu)))
    if distributed.is_main():
        found = {"seconds": seconds[1:], "cpu_seconds": cpu_seconds[1:], "result": results}
        sys.stdout.write("\n" + json.dumps(found) + "\n")
    distributed.leave()


def main(argv: Sequence[str]) -> None:
    if list(argv[:1]) == ["--worker"]:
        work(argv[1], Scale(**json.loads(argv[2])), Path(argv[3]))
        return
    given = arguments(__doc__).parse_args(argv)
    measure(QUICK if given.quick else Scale(), Report("processes", given.json))


if __name__ == "__main__":
    main(sys.argv[1:])
