"""Runs what is missing of a report's trials, and reads what they left.

A trial is a process of ``python -m recbole_tslrec``, since one that dies must not take the others along. The trials of
one dataset, backbone and seed are a chain and run one after another, so that the first of them trains the backbone that
all share; ``--jobs`` runs chains side by side. A finished trial leaves a JSON, one that was stopped leaves the
artifacts of its finished stages, and the same command goes on from both.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from logging import getLogger
from pathlib import Path
from typing import Any

from tqdm import tqdm

from recbole_tslrec.compute.lifeline import Lifeline
from recbole_tslrec.evaluation.model_free import MODEL_FREE
from recbole_tslrec.experiments.budget import list_runs
from recbole_tslrec.experiments.command import Command
from recbole_tslrec.experiments.jobs import Job, chains, check_jobs
from recbole_tslrec.experiments.trials import Outcome, Trial
from recbole_tslrec.store.files import beside, read_json, write_json

_POLL_SECONDS = 0.2


class OnlyListed(Exception):
    """``--budget``: the runs were listed, and there are no outcomes."""


def outcomes(trials: Sequence[Trial], command: Command) -> list[Outcome]:
    """Run what is missing of the trials; see :func:`outcomes_of`."""
    return outcomes_of([Job(trial, command) for trial in trials], command)


def outcomes_of(jobs: Sequence[Job], command: Command) -> list[Outcome]:
    """Run what is missing of the jobs, ``command.jobs`` at a time.

    A job that fails is named with its log when all others are done, and has no outcome.

    Returns:
        The outcomes of the finished jobs, in the order of ``jobs``.

    Raises:
        ConfigError: a key, value or file is wrong, or a model; said before anything runs.
        DatasetError: a dataset does not exist; said before anything runs.
        OnlyListed: ``command.budget``.
        KeyboardInterrupt: it was stopped; the processes are stopped too.
    """
    check_jobs(jobs)
    missing = [job for job in jobs if job.outcome() is None]
    if command.budget:
        sys.stdout.write(list_runs(jobs))
        raise OnlyListed
    failed = run_jobs(missing, command.jobs)
    if failed:
        lines = [f"{job.name}: {reason} (see {job.log})" for job, reason in failed.items()]
        getLogger().error(f"{len(failed)} of {len(jobs)} runs failed:\n" + "\n".join(lines))
        sys.stdout.write(f"\n{len(failed)} of {len(jobs)} runs failed:\n" + "\n".join(lines) + "\n")
    return [outcome for job in jobs if (outcome := job.outcome())]


def run_jobs(jobs: Sequence[Job], processes: int) -> dict[Job, str]:
    """Run jobs in processes of their own, those of a chain one after another.

    Returns:
        The last line that each failed job has written.
    """
    waiting, failed = chains(jobs), {}
    running: dict[Job, tuple[subprocess.Popen[bytes], list[Job]]] = {}
    environment, lifeline = {**_threads(processes), **os.environ}, Lifeline()
    with _stopped_like_ctrl_c(), tqdm(total=len(jobs), disable=None, unit="run") as progress:
        try:
            while waiting or running:
                while waiting and len(running) < processes:
                    job, *rest = waiting.pop(0)
                    running[job] = _start(job, lifeline.options(environment)), rest
                for job in [job for job, (process, _) in running.items() if process.poll() is not None]:
                    process, rest = running.pop(job)
                    reason = _finish(job, process.returncode)
                    if reason:
                        failed[job] = reason
                    progress.write(f"{job.name}: {reason or 'done'}")
                    progress.update()
                    waiting = [rest, *waiting] if rest else waiting
                progress.set_postfix_str(", ".join(job.name for job in running))
                time.sleep(_POLL_SECONDS)
        finally:
            for process, _ in running.values():
                process.terminate()
            for process, _ in running.values():
                process.wait()
            lifeline.close()
    return failed


def _start(job: Job, options: Mapping[str, Any]) -> "subprocess.Popen[bytes]":
    job.file.parent.mkdir(parents=True, exist_ok=True)
    with job.log.open("wb") as log:
        return subprocess.Popen(command_line(job), stdout=log, stderr=subprocess.STDOUT, **options)


def command_line(job: Job) -> list[str]:
    """The process of a job; its result goes to :func:`unread`."""
    trial = job.trial
    arguments = [f"--dataset={trial.dataset}", f"--result_file={unread(job)}", *job.keys]
    if job.files:
        arguments.append(f"--config_files={' '.join(job.files)}")
    if trial.row in MODEL_FREE:
        return [sys.executable, "-m", "recbole_tslrec.experiments.model_free_run", f"--row={trial.row}", *arguments]
    return [sys.executable, "-m", "recbole_tslrec", f"--model={trial.model}", *arguments]


def _finish(job: Job, status: int) -> str | None:
    """Put a job's result into place, with what it was asked for; or give the reason why there is none."""
    written = unread(job)
    if status or not written.is_file():
        lines = job.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1] if lines else f"exit status {status}"
    write_json(job.file, {**read_json(written), "request": job.request})
    written.unlink()
    return None


def unread(job: Job) -> Path:
    """Where a process writes its result, before it is kept together with what it was asked for.

    Two reports that run the same trial at once share its artifacts, and must not take each other's file away.
    """
    return beside(job.file, f"{os.getpid()}.unread")


def _threads(processes: int) -> dict[str, str]:
    """The cores shared out: several processes with all threads each take many times as long."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {"OMP_NUM_THREADS": str(max(1, cores // processes))}


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
