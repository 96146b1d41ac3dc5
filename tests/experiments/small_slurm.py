"""Slurm on one machine: the commands that submitit calls, as scripts that run batch files in the background.

A job is known by files in a folder: its name, its state, the group of its processes. While there is a file ``hold``,
jobs wait in the queue; while there is one called ``limit``, it tells how many jobs may be in it.
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

_SBATCH = """
live=$(grep -lE 'PENDING|RUNNING' *.state 2> /dev/null | wc -l)
if [ -e limit ] && [ "$live" -ge "$(cat limit)" ]; then
  echo "sbatch: error: QOSMaxSubmitJobPerUserLimit" >&2
  exit 1
fi
cp "$1" $$.batch
echo PENDING > $$.state
sed -n 's/^#SBATCH --job-name=//p' "$1" > $$.new
mv $$.new $$.name
(cd "$from" && SLURM_JOB_ID=$$ exec setsid "$here/job" "$1") < /dev/null > /dev/null 2>&1 &
[ -e slow ] && sleep 5
echo "Submitted batch job $$"
"""
_JOB = """
echo $$ > $SLURM_JOB_ID.new
mv $SLURM_JOB_ID.new $SLURM_JOB_ID.group
while [ -e hold ]; do sleep 0.05; done
set_state() { echo $1 > $SLURM_JOB_ID.next && mv $SLURM_JOB_ID.next $SLURM_JOB_ID.state; }
set_state RUNNING
if (cd "$from" && exec bash "$1"); then set_state COMPLETED; else set_state FAILED; fi
"""
_SRUN = """
cd "$from"
while :; do
  case $1 in
    --unbuffered) shift ;;
    --output) out=$(echo "$2" | sed "s/%j/$SLURM_JOB_ID/; s/%t/0/"); shift 2 ;;
    --error) err=$(echo "$2" | sed "s/%j/$SLURM_JOB_ID/; s/%t/0/"); shift 2 ;;
    *) break ;;
  esac
done
exec "$@" >> "$out" 2>> "$err"
"""
_SACCT = """
echo "JobID|State|NodeList"
for id in "$@"; do if [ -e "$id.state" ]; then echo "$id|$(cat "$id.state")|here"; fi; done
"""
_SCANCEL = """
case $1 in
  --name=*) ids=$(grep -lx "${1#--name=}" *.name | sed 's/.name//') ;;
  *) ids=$1 ;;
esac
for id in $ids; do
  while [ ! -s "$id.group" ]; do sleep 0.02; done
  kill -KILL "-$(cat "$id.group")"
  echo "CANCELLED by 1000" > "$id.state"
done
"""
_SCONTROL = """
[ "$1" = requeue ] && old=$(cat "$2.group") && rm "$2.group" && echo PENDING > "$2.state"
(cd "$from" && SLURM_JOB_ID=$2 exec setsid "$here/job" "$here/$2.batch") < /dev/null > /dev/null 2>&1 &
while [ ! -e "$2.group" ]; do sleep 0.02; done
kill -KILL "-$old"
"""


class SmallSlurm:
    """The commands, in a folder that is to stand in the ``PATH``.

    Args:
        folder: an empty one, which also holds what is known of jobs.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        scripts = {"sbatch": _SBATCH, "job": _JOB, "srun": _SRUN, "sacct": _SACCT, "scancel": _SCANCEL}
        for name, script in {**scripts, "scontrol": _SCONTROL}.items():
            (folder / name).write_text(f'#!/bin/sh\nfrom=$PWD here="{folder}"\ncd "$here"\n{script}')
            (folder / name).chmod(0o755)

    def set(self, name: str, text: str = "") -> None:
        """Make one of the files ``hold``, ``limit`` and ``slow``."""
        (self.folder / name).write_text(text)

    def unset(self, name: str) -> None:
        """Delete it."""
        (self.folder / name).unlink()

    def jobs(self) -> dict[str, str]:
        """The state of each job that was ever submitted, by its name without the random end; in order."""
        files = sorted(self.folder.glob("*.name"), key=lambda file: file.stat().st_mtime_ns)
        names = [file.read_text().strip().rpartition("-")[0] for file in files]
        return dict(zip(names, (file.with_suffix(".state").read_text().strip() for file in files), strict=True))

    def batch_files(self) -> list[str]:
        """The texts of all batch files."""
        return [file.read_text() for file in self.folder.glob("*.batch")]

    def end(self) -> None:
        """Cancel all jobs."""
        for file in self.folder.glob("*.name"):
            subprocess.run([self.folder / "scancel", file.stem], check=False, capture_output=True)

    def near_time_limit(self) -> None:
        """Tell submitit's process on the other machine, as Slurm does before it ends a job."""
        for process in psutil.process_iter(["cmdline"]):
            with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
                if (
                    "submitit.core._submit" in (process.info["cmdline"] or ())
                    and os.getpgid(process.pid) in self.processes()
                ):
                    process.send_signal(signal.SIGUSR2)

    def processes(self) -> list[int]:
        """Those of the jobs that still run."""
        groups = [int(file.read_text()) for file in self.folder.glob("*.group")]
        return [group for group in groups if _is_running(group)]


def _is_running(group: int) -> bool:
    """Whether a process of a group runs; one that nobody has asked for its end does not."""
    for process in psutil.process_iter(["status"]):
        with contextlib.suppress(ProcessLookupError):
            if os.getpgid(process.pid) == group and process.info["status"] != psutil.STATUS_ZOMBIE:
                return True
    return False


def wait_until(is_so: Callable[[], bool]) -> None:
    """Wait for it, half a minute at most."""
    deadline = time.monotonic() + 30
    while not is_so():
        if time.monotonic() > deadline:
            pytest.fail("it did not come")
        time.sleep(0.02)
