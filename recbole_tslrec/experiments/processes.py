"""The processes of jobs: here those of this machine, in ``experiments/slurm.py`` those of a cluster."""

import os
import shlex
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from recbole_tslrec.compatibility.devices import VISIBLE, visible_gpus
from recbole_tslrec.compute.lifeline import Lifeline
from recbole_tslrec.evaluation.model_free import MODEL_FREE
from recbole_tslrec.experiments.command import override
from recbole_tslrec.experiments.jobs import Job
from recbole_tslrec.store.files import beside


class Refused(RuntimeError):
    """No process could be started now."""


class Running(Protocol):
    """A job that was started."""

    @property
    def result(self) -> Path:
        """Where it writes its result, which has a name of its own on all machines.

        Two reports that run the same trial at once share its artifacts, and must not take each other's file away.
        """

    def waits(self) -> bool:
        """Whether it still waits in a queue."""

    def status(self) -> int | None:
        """Its exit status; ``None`` until it has ended."""

    def ended_by(self) -> str:
        """Who ended it from outside, for its log cannot tell; empty where it ended by itself."""

    def stop(self) -> None:
        """Ask it to end."""

    def wait(self) -> None:
        """Wait until it has ended, where it could outlive the report otherwise."""

    def discard(self) -> None:
        """Delete what it left beside result and log; the result was read."""


class Launcher(Protocol):
    """Starts jobs."""

    poll_seconds: float  #: between two looks at what runs

    def start(self, job: Job) -> Running:
        """Start a job.

        Raises:
            Refused: not now.
        """


def command_line(job: Job, result: Path) -> list[str]:
    """The command of a job, the one that a user would write."""
    trial = job.trial
    arguments = [f"--dataset={trial.dataset}", f"--result_file={result}", *job.keys]
    if job.files:
        arguments.append(f"--config_files={shlex.join(job.files)}")
    if trial.row in MODEL_FREE:
        return [sys.executable, "-m", "recbole_tslrec.experiments.model_free_run", f"--row={trial.row}", *arguments]
    return [sys.executable, "-m", "recbole_tslrec", f"--model={trial.model}", *arguments]


class LocalProcess:
    """A process of this machine."""

    def __init__(self, process: "subprocess.Popen[bytes]", result: Path) -> None:
        self._process = process
        self.result = result

    def waits(self) -> bool:
        """Never: it runs at once."""
        return False

    def status(self) -> int | None:
        """Its exit status; ``None`` until it has ended."""
        return self._process.poll()

    def ended_by(self) -> str:
        """The signal that killed it, e.g. that of a system without memory."""
        status = self._process.returncode or 0
        return f"killed by signal {-status}" if status < 0 else ""

    def stop(self) -> None:
        """Ask it to end."""
        self._process.terminate()

    def wait(self) -> None:
        """Wait until it has ended."""
        self._process.wait()

    def discard(self) -> None:
        """Delete the result."""
        self.result.unlink(missing_ok=True)


class LocalProcesses:
    """Starts processes that share the cores and the GPUs of this machine, and end with this one.

    Args:
        count: how many run at once.
        lifeline: what ends them.
    """

    poll_seconds = 0.2

    def __init__(self, count: int, lifeline: Lifeline) -> None:
        self._environment = {**_threads(count), **os.environ}
        self._lifeline = lifeline
        self._gpus = visible_gpus()
        self._started: list[tuple[str, LocalProcess]] = []  # with the GPU of each

    def start(self, job: Job) -> LocalProcess:
        """Start the process of a job; what it writes goes to its log."""
        job.file.parent.mkdir(parents=True, exist_ok=True)
        result = beside(job.file, f"{uuid.uuid4().hex[:12]}.unread")
        with job.log.open("wb") as log:
            gpu = self._freest_gpu() if self._gpus and job.config()["gpu_id"] else ""
            options = self._lifeline.options({**self._environment, **({VISIBLE: gpu} if gpu else {})})
            # what a user has set as gpu_id would win over the environment
            command = override(command_line(job, result), [f"--gpu_id={gpu}"] if gpu else [])
            process = LocalProcess(subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, **options), result)
        self._started.append((gpu, process))
        return process

    def _freest_gpu(self) -> str:
        # that with the fewest processes; none where there are none
        self._started = [(gpu, process) for gpu, process in self._started if process.status() is None]
        taken = Counter(gpu for gpu, _ in self._started)
        return min(self._gpus, key=lambda gpu: taken[gpu], default="")


@contextmanager
def local_processes(count: int) -> Iterator[LocalProcesses]:
    """See :class:`LocalProcesses`; those that still run at the end are ended."""
    lifeline = Lifeline()
    try:
        yield LocalProcesses(count, lifeline)
    finally:
        lifeline.close()


def _threads(processes: int) -> dict[str, str]:
    """The cores shared out: several processes with all threads each take many times as long."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {"OMP_NUM_THREADS": str(max(1, cores // processes))}
