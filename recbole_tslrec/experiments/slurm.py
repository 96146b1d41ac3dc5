"""``report ... --slurm``: the jobs of a report as jobs of a Slurm cluster, handed over by submitit.

A Slurm job runs the very command that would run here, in the same folder and with the same environment. submitit
pickles that command into a folder, from which the other machine reads it; so the folder is private, and nothing is
unpickled on this side: whether a job has succeeded is told by the file that it writes.
"""

import os
import re
import shutil
import subprocess
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from logging import getLogger
from pathlib import Path
from typing import Any

from submitit import AutoExecutor, SlurmJob
from submitit.core.utils import CommandFunction, DelayedSubmission, FailedJobError, FailedSubmissionError
from submitit.helpers import clean_env

from recbole_tslrec.experiments.jobs import Job
from recbole_tslrec.experiments.processes import Refused, command_line
from recbole_tslrec.settings import ConfigError
from recbole_tslrec.store.files import read_json, write_json
from recbole_tslrec.store.locks import locked
from recbole_tslrec.store.private_folder import private_folder

_COMMANDS = ("sbatch", "srun", "sacct", "scancel")
_FOLDER, _RECORD = "slurm", "job.json"
_ALIVE = ("PENDING", "RUNNING", "REQUEUED", "COMPLETING", "SUSPENDED")
_BY_ITSELF = (*_ALIVE, "COMPLETED", "FAILED", "UNKNOWN")
# appends, since a job that is put back into the queue goes on; the result is in place only of a process that succeeded
_SHELL = 'log=$1 written=$2 result=$3; shift 3; "$@" >> "$log" 2>&1 && mv "$written" "$result"'


@contextmanager
def slurm_jobs(parameters: Mapping[str, Any], output_dir: Path) -> Iterator["SlurmJobs"]:
    """See :class:`SlurmJobs`.

    Another report with ``--slurm`` and the same folder waits until this one is done. So a job that is found there was
    left by a report that was killed, and is taken over.

    Raises:
        ConfigError: this machine has no Slurm, or a parameter has a value that cannot be.
        PermissionError: others could write to the folder with submitit's files.
    """
    missing = [command for command in _COMMANDS if shutil.which(command) is None]
    if missing:
        raise ConfigError(
            f"--slurm: this machine has no {', '.join(missing)}; run the report where jobs are submitted, or leave "
            "--slurm out"
        )
    folder = private_folder(output_dir / _FOLDER)
    try:
        _executor(folder, "check", parameters)
    except (AssertionError, NameError, TypeError, ValueError) as error:
        raise ConfigError(f"--slurm has a value that submitit does not take: {error}") from error
    with locked(folder / "lock"):
        for left in folder.iterdir():
            if left.is_dir() and not (left / _RECORD).exists():
                shutil.rmtree(left, ignore_errors=True)
        yield SlurmJobs(parameters, folder)


class SlurmJobs:
    """Starts jobs on a cluster.

    Args:
        parameters: submitit's.
        folder: private; a folder in it for each job.
    """

    poll_seconds = 2.0

    def __init__(self, parameters: Mapping[str, Any], folder: Path) -> None:
        self._parameters = parameters
        self._folder = folder

    def start(self, job: Job) -> "SlurmProcess":
        """Put a job into the queue, or find the one that a killed report has left there.

        Raises:
            Refused: Slurm does not take it.
        """
        return self._left_behind(job) or self._submit(job)

    def _left_behind(self, job: Job) -> "SlurmProcess | None":
        for record in self._folder.glob(f"*/{_RECORD}"):
            found = read_json(record)
            if (found["file"], found["request"]) == (str(job.file.absolute()), job.request):
                former = SlurmProcess(SlurmJob(record.parent, found["job_id"]), job)
                if former.result.is_file() or former.state("force") in _ALIVE:
                    return former
                shutil.rmtree(record.parent, ignore_errors=True)
        return None

    def _submit(self, job: Job) -> "SlurmProcess":
        name = f"{job.trial.name}-{uuid.uuid4().hex[:12]}"
        folder = self._folder / name
        folder.mkdir(mode=0o700)
        job.file.parent.mkdir(parents=True, exist_ok=True)
        job.log.unlink(missing_ok=True)
        try:
            with clean_env():  # the report may itself run in a job
                submitted = _executor(folder, name, self._parameters).submit(_function(job, folder))
            record = {"job_id": submitted.job_id, "file": str(job.file.absolute()), "request": job.request}
            write_json(folder / _RECORD, record)
        except BaseException as error:  # the job may be in the queue all the same, with an id that nobody was told
            subprocess.call(["scancel", f"--name={name}"])
            if isinstance(error, FailedJobError | FailedSubmissionError):
                raise Refused(f"Slurm refused {job.name}: {' '.join(str(error).split())}") from error
            raise
        return SlurmProcess(submitted, job)


class SlurmProcess:
    """A job in Slurm's hands."""

    def __init__(self, submitted: Any, job: Job) -> None:
        self._submitted = submitted
        self._log = job.log
        self._succeeded = False
        self.result: Path = submitted.paths.folder / "result.json"

    def waits(self) -> bool:
        """Whether it is in the queue: a job makes its log when it starts."""
        return not self._log.exists()

    def status(self) -> int | None:
        """0 or 1; ``None`` until it has ended."""
        if not self._submitted.done():
            return None
        self._succeeded = self.result.is_file()
        return 0 if self._succeeded else 1

    def state(self, mode: str) -> str:
        """What Slurm calls its state, without by whom."""
        said: str = self._submitted.watcher.get_state(self._submitted.job_id, mode=mode)
        return said.split()[0].upper()

    def ended_by(self) -> str:
        """Slurm, for want of time, memory or a node."""
        given_up = re.search(r"Job not requeued because: .*", self._submitted.stderr() or "")
        state = self.state("force")
        if given_up:
            return f"Slurm job {self._submitted.job_id}: {given_up[0]}"
        return "" if state in _BY_ITSELF else f"Slurm job {self._submitted.job_id} ended as {state}"

    def stop(self) -> None:
        """Cancel it; where that fails, the next report finds it."""
        try:
            self._submitted.cancel()
            (self._submitted.paths.folder / _RECORD).unlink(missing_ok=True)
        except (OSError, subprocess.CalledProcessError):
            getLogger().error(f"Slurm did not cancel a job: scancel {self._submitted.job_id}")

    def wait(self) -> None:
        """Nothing: Slurm ends it."""

    def discard(self) -> None:
        """Forget it, and delete submitit's files where it has succeeded; of others they stay until the next report."""
        folder = self._submitted.paths.folder
        if self._succeeded:
            shutil.rmtree(folder, ignore_errors=True)
        (folder / _RECORD).unlink(missing_ok=True)


def _executor(folder: Path, name: str, parameters: Mapping[str, Any]) -> AutoExecutor:
    """Submitit's, whose parameters that only Slurm has begin with ``slurm_``."""
    executor = AutoExecutor(folder, cluster="slurm")
    shared = AutoExecutor._valid_parameters()
    given = {key if key in shared else f"slurm_{key}": value for key, value in parameters.items()}
    executor.update_parameters(name=name, **given)
    return executor


def _function(job: Job, folder: Path) -> CommandFunction:
    """The command of a job as what submitit calls on the other machine; it needs submitit alone there.

    A time limit ends it before it is done? submitit then asks for a ``checkpoint``, what to do in its next life, and
    puts the job back into the queue, three times at most. The same command goes on from artifacts and step checkpoints.
    """
    written, result = (folder.absolute() / name for name in ("written.json", "result.json"))
    words = [str(job.log.absolute()), str(written), str(result), *command_line(job, written)]
    function = CommandFunction(["/bin/sh", "-c", _SHELL, "sh", *words], cwd=os.getcwd())
    function.checkpoint = partial(DelayedSubmission, function)  # type: ignore[attr-defined]
    return function
