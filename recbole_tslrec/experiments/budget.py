"""``--budget``: which runs a report needs, and how long they will take."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta

from tabulate import tabulate

from recbole_tslrec.experiments.jobs import Job, chains
from recbole_tslrec.experiments.trials import Outcome


def list_runs(jobs: Sequence[Job]) -> str:
    """A line for each job, and the sum; a job is estimated by one that differs in its seed only."""
    expected = {job: seconds for chain in chains(jobs) for job, seconds in estimates(chain)}
    lines = [(job.name, _state(expected.get(job, 0.0), job in expected)) for chain in chains(jobs) for job in chain]
    known = [seconds for seconds in expected.values() if seconds is not None]
    total = f"{len(expected)} of {len(jobs)} runs are missing"
    if known:
        total += f": {timedelta(seconds=round(sum(known)))} (hours:minutes:seconds)"
    if len(known) < len(expected):
        total += f"; the time of {len(expected) - len(known)} is unknown, for no run like them has finished"
    if expected and jobs[0].command.jobs > 1:
        total += f", over {jobs[0].command.jobs} processes"
    return f"{tabulate(lines, ['run', 'estimated seconds'], disable_numparse=True)}\n{total}\n"


def estimates(chain: Sequence[Job]) -> Iterator[tuple[Job, float | None]]:
    """Seconds of each missing job of a chain, ``None`` where nothing like it has finished.

    A finished run shows what building each of its artifacts took. What an earlier job of the chain builds, or has
    built, costs nothing again; so the jobs are compared with a chain of one other seed, which has most of them.
    """
    finished = {(job, outcome.trial.seed): outcome for job in chain for outcome in _with_other_seeds(job)}
    counts = Counter(seed for _, seed in finished)
    seed = max(counts, key=lambda seed: counts[seed], default=None)
    paid: set[str] = set()
    for job in chain:
        like = finished.get((job, seed)) if seed is not None else None
        own = _seconds(like, paid) if like else None
        if job.outcome() is None:
            yield job, own
        if like:
            paid.update(stage["folder"] for stage in like.result["stages"])


def _seconds(outcome: Outcome, paid: set[str]) -> float:
    stages = outcome.result["stages"]
    return float(sum(stage["built_in_seconds"] for stage in stages if stage["folder"] not in paid))


def _with_other_seeds(job: Job) -> Iterator[Outcome]:
    """The finished runs beside a job that differ in their seed only."""
    for file in job.file.parent.glob(f"{job.trial.name.removesuffix(str(job.trial.seed))}*.json"):
        seed = re.search(r"seed(\d+)$", file.stem)
        if seed and int(seed[1]) != job.trial.seed:
            outcome = replace(job, trial=replace(job.trial, seed=int(seed[1]))).outcome()
            if outcome:
                yield outcome


def _state(seconds: float | None, missing: bool) -> str:
    if not missing:
        return "done"
    return "unknown" if seconds is None else f"{seconds:.0f}"
