"""A recommender in a process of its own that trains and evaluates when it is asked to.

Importing recbole_tslrec changes RecBole for the whole process (it ends the anomaly mode that RecBole trains in, for
one), so stock RecBole needs a process that never does; steps of both can still take turns. A request and its answer are
lines of JSON: ``{"do": "steps", "with": {"count": 4}}`` and ``{"answer": ...}`` or ``{"error": "..."}``.
"""

import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from measure import own_peak_bytes, peak_bytes

# (model, dataset, settings) -> RecBole's training and validation loaders and a trainer with its model
Prepare = Callable[[str, str, Mapping[str, Any]], tuple[Any, Any, Any]]
_CPU = torch.device("cpu")
_LAST_LINES = 5  # of what a process wrote before it ended, for the error


class TrialFailed(RuntimeError):
    """What was asked of a process could not be done, or it has ended."""


class Trial:
    """What a process can be asked for: the methods without an underscore.

    Args:
        prepare: loads the data and builds the model.
    """

    def __init__(self, prepare: Prepare) -> None:
        self._prepare = prepare

    def prepare(self, model: str, dataset: str, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Load the data and build the model; seconds, counts, and what this process is."""
        started = time.perf_counter()
        self._train_data, self._valid_data, self._trainer = self._prepare(model, dataset, settings)
        seconds = time.perf_counter() - started
        self._trainer.eval_collector.data_collect(self._train_data)  # as fit() does first
        self._batches = itertools.chain.from_iterable(itertools.repeat(self._train_data))
        loaded = self._train_data._dataset
        return {
            "seconds": seconds,
            "users": loaded.user_num - 1,
            "items": loaded.item_num - 1,
            "targets": len(loaded),
            "steps": len(self._train_data),
            "anomaly mode": torch.is_anomaly_enabled(),
            "imports recbole_tslrec": "recbole_tslrec" in sys.modules,
        }

    def steps(self, count: int) -> float:
        """Train on the next ``count`` batches with RecBole's own loop: loading, forward, backward, optimizer."""
        started = time.perf_counter()
        self._trainer._train_epoch(itertools.islice(self._batches, count), 0)
        return time.perf_counter() - started

    def epoch(self) -> float:
        """Train an epoch; its seconds."""
        started = time.perf_counter()
        self._trainer._train_epoch(self._train_data, 0)
        return time.perf_counter() - started

    def validate(self) -> dict[str, Any]:
        """Evaluate on the validation items; seconds and RecBole's metrics."""
        started = time.perf_counter()
        score, metrics = self._trainer._valid_epoch(self._valid_data)
        return {"seconds": time.perf_counter() - started, "score": score, "metrics": dict(metrics)}

    def validation_bytes(self) -> int:
        """What the process grows by at the peak of an evaluation."""
        return peak_bytes(lambda: self._trainer._valid_epoch(self._valid_data), _CPU)

    def peak_bytes(self) -> int:
        """The largest resident memory of the process so far."""
        return own_peak_bytes()

    def write_weights(self, path: str) -> None:
        """Write the model's weights as safetensors."""
        save_file(self._trainer.model.state_dict(), path)

    def read_weights(self, path: str) -> None:
        """Take weights over; their names and shapes must be the model's own."""
        self._trainer.model.load_state_dict(load_file(path))


def serve(prepare: Prepare) -> None:
    """Answer the requests on standard input until it ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not come between the answers
    trial = Trial(prepare)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = {"answer": getattr(trial, request["do"])(**request["with"])}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer, default=float) + "\n")
        answers.flush()


class Process:
    """A trial in a process of its own; a context manager that ends it.

    Args:
        script: ``stock.py`` or ``ours.py``.
        folder: where it runs and leaves what RecBole logs.
    """

    def __init__(self, script: Path, folder: Path) -> None:
        self.script, self.log = script, folder / f"{script.stem}.log"
        with self.log.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, str(script)],
                cwd=folder,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def ask(self, task: str, **arguments: Any) -> Any:
        """Have a method of :class:`Trial` called, and wait for what it returns.

        Raises:
            TrialFailed: it raised an exception, or the process ended, for want of memory perhaps.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({"do": task, "with": arguments}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            last = " | ".join(self.log.read_text().splitlines()[-_LAST_LINES:])
            raise TrialFailed(f"{self.script.name} ended with status {self._process.wait()} at [{task}]: {last}")
        found = json.loads(line)
        if "error" in found:
            raise TrialFailed(f"{self.script.name} failed at [{task}]: {found['error']}")
        return found["answer"]

    def __enter__(self) -> "Process":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()  # it holds nothing that is still needed, and would take seconds to close RecBole's logs
        self._process.communicate()
