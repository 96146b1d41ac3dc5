"""Runs what is missing of a report's trials, and reads what they left.

A trial is a process of ``python -m recbole_tslrec``, since one that dies must not take the others along. The trials of
one dataset, backbone and seed are a chain and run one after another, so that the first of them trains the backbone that
all share; ``--jobs`` runs chains side by side, with ``--slurm`` on the machines of a cluster. A finished trial leaves a
JSON, one that was stopped leaves the artifacts of its finished stages, and the same command goes on from both.
"""

import contextlib
import math
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from logging import getLogger

from tqdm import tqdm

from recbole_tslrec.experiments.budget import list_runs
from recbole_tslrec.experiments.command import Command
from recbole_tslrec.experiments.jobs import Job, chains, check_jobs
from recbole_tslrec.experiments.processes import Launcher, Refused, Running, local_processes
from recbole_tslrec.experiments.trials import Outcome, Trial
from recbole_tslrec.store.files import read_json, write_json

_SECONDS_OF_PATIENCE = 120  # a job that is done may be in a queue's count for a while


class OnlyListed(Exception):
    """``--budget``: the runs were listed, and there are no outcomes."""


def outcomes(trials: Sequence[Trial], command: Command) -> list[Outcome]:
    """Run what is missing of the trials; see :func:`outcomes_of`."""
    return outcomes_of([Job(trial, command) for trial in trials], command)


def outcomes_of(jobs: Sequence[Job], command: Command) -> list[Outcome]:
    """Run what is missing of the jobs, ``command.jobs`` at a time.

    A job that fails is named with its log when all others are done, in ``command.failed`` too, and has no outcome.

    Returns:
        The outcomes of the finished jobs, in the order of ``jobs``.

    Raises:
        ConfigError: a key, value or file is wrong, or a model; said before anything runs.
        DatasetError: a dataset does not exist; said before anything runs.
        OnlyListed: ``command.budget``.
        Refused: Slurm takes none of the jobs.
        KeyboardInterrupt: it was stopped; the processes are stopped too.
    """
    check_jobs(jobs)
    if command.budget:
        sys.stdout.write(list_runs(jobs))
        raise OnlyListed
    failed = {}
    if _missing(jobs):
        with _launcher(command) as launcher:
            failed = run_jobs(_missing(jobs), command.jobs, launcher)  # it may have waited for another report
    if failed:
        command.failed.extend(job.name for job in failed)
        lines = [f"{job.name}: {reason} (see {job.log})" for job, reason in failed.items()]
        getLogger().error(f"{len(failed)} of {len(jobs)} runs failed:\n" + "\n".join(lines))
        sys.stdout.write(f"\n{len(failed)} of {len(jobs)} runs failed:\n" + "\n".join(lines) + "\n")
    return [outcome for job in jobs if (outcome := job.outcome())]


def run_jobs(jobs: Sequence[Job], processes: int, launcher: Launcher) -> dict[Job, str]:
    """Run jobs in processes of their own, those of a chain one after another.

    Args:
        jobs: which.
        processes: how many run at once.
        launcher: starts them.

    Returns:
        The last line that each failed job has written.

    Raises:
        Refused: none could be started, and none runs any more.
    """
    runs = _Runs(jobs, processes, launcher)
    with _stopped_like_ctrl_c(), tqdm(total=len(jobs), disable=None, unit="run") as progress:
        try:
            while runs.waiting or runs.running:
                runs.start(progress.write)
                for job, reason in runs.collect():
                    progress.write(f"{job.name}: {reason or 'done'}")
                    progress.update()
                progress.set_postfix_str(str(runs))
                time.sleep(launcher.poll_seconds)
        finally:
            runs.stop()
    return runs.failed


class _Runs:
    """The jobs of :func:`run_jobs`: chains that wait, jobs that run with the rest of their chains, jobs that failed."""

    def __init__(self, jobs: Sequence[Job], processes: int, launcher: Launcher) -> None:
        self._launcher = launcher
        self._processes = processes
        self._last_end = -math.inf
        self.waiting = chains(jobs)
        self.running: dict[Job, tuple[Running, list[Job]]] = {}
        self.failed: dict[Job, str] = {}

    def start(self, say: Callable[[str], None]) -> None:
        """Start what may run now.

        Raises:
            Refused: none could be started, and none runs any more.
        """
        while self.waiting and len(self.running) < self._processes:
            job, *rest = self.waiting[0]
            try:
                self.running[job] = self._launcher.start(job), rest
            except Refused as refused:
                if not self.running and time.monotonic() > self._last_end + _SECONDS_OF_PATIENCE:
                    raise
                if self.running:  # a queue may take so many of a user and no more
                    self._processes = len(self.running)
                    say(f"{refused}; going on with {self._processes} at once")
                break
            self.waiting.pop(0)

    def collect(self) -> Iterator[tuple[Job, str | None]]:
        """Each job that has ended, and why it has failed."""
        for job in [job for job, (process, _) in self.running.items() if process.status() is not None]:
            process, rest = self.running.pop(job)
            self._last_end = time.monotonic()
            reason = _finish(job, process)
            if reason:
                self.failed[job] = reason
            self.waiting = [rest, *self.waiting] if rest else self.waiting
            yield job, reason

    def stop(self) -> None:
        """End what still runs."""
        for process, _ in self.running.values():
            process.stop()
        for process, _ in self.running.values():
            process.wait()

    def __str__(self) -> str:
        running = self.running.items()
        return ", ".join(f"{job.name} (queued)" if process.waits() else job.name for job, (process, _) in running)


def _missing(jobs: Sequence[Job]) -> list[Job]:
    return [job for job in jobs if job.outcome() is None]


def _launcher(command: Command) -> AbstractContextManager[Launcher]:
    """Where a command's jobs run."""
    if command.slurm is None:
        return local_processes(command.jobs)
    from recbole_tslrec.experiments.slurm import slurm_jobs  # it needs submitit

    return slurm_jobs(command.slurm, command.output_dir)


def _finish(job: Job, process: Running) -> str | None:
    """Put a job's result into place, with what it was asked for; or give the reason why there is none."""
    reason = None
    if process.status() or not process.result.is_file():
        reason = _reason(job, process)
    else:
        write_json(process.result, {**read_json(process.result), "request": job.request})
        process.result.replace(job.file)  # its own name is nobody else's, who may have finished the same trial now
    process.discard()
    return reason


def _reason(job: Job, process: Running) -> str:
    """The last line of a log, behind who ended the process where that was another."""
    log = job.log.read_text(encoding="utf-8", errors="replace") if job.log.is_file() else ""
    last = log.strip().splitlines()[-1:] or [f"exit status {process.status()}"]
    return "; ".join(filter(None, [process.ended_by(), *last]))


@contextlib.contextmanager
def _stopped_like_ctrl_c() -> Iterator[None]:
    """``kill`` stops as Ctrl-C does, so that the processes end too."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    former = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)
