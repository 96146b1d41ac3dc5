"""Jobs of a report on a cluster: submitit's own executor and job, and the commands of Slurm on this machine."""

import os
import signal
import sys
import threading
from dataclasses import replace

import pytest

pytest.importorskip("submitit", reason="needs recbole_tslrec[slurm]")

import submitit

from recbole_tslrec.experiments import slurm
from recbole_tslrec.experiments.jobs import Job, trials_of
from recbole_tslrec.experiments.processes import Refused
from recbole_tslrec.experiments.runner import _Runs, outcomes
from recbole_tslrec.experiments.slurm import SlurmJobs, slurm_jobs
from recbole_tslrec.settings import ConfigError
from tests.experiments.small_slurm import SmallSlurm, wait_until
from tests.experiments.stand_ins import noted, stand_in

ASKED = {"partition": "gpu", "timeout_min": 60, "mem_gb": 4}


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    (tmp_path / "cluster").mkdir()
    cluster = SmallSlurm(tmp_path / "cluster")
    monkeypatch.setenv("PATH", f"{cluster.folder}:{os.environ['PATH']}")
    monkeypatch.setattr(SlurmJobs, "poll_seconds", 0.05)
    monkeypatch.setattr(slurm, "command_line", stand_in(tmp_path))
    monkeypatch.chdir(tmp_path)
    yield cluster
    cluster.end()
    submitit.SlurmJob.watcher.clear()


@pytest.fixture
def command(command):
    """Seeds 1 and 2, the rows Base and TSLRec, on the cluster."""
    return replace(command, slurm=ASKED, jobs=2)


def jobs_of(command):
    return [Job(trial, command) for trial in trials_of(command)]


def kill_when(is_so):
    """SIGTERM for this process, sent by a thread."""

    def wait_and_kill():
        try:
            wait_until(is_so)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait_and_kill, daemon=True).start()


def test_the_chains_of_a_report_run_side_by_side_and_leave_their_results(command, cluster, tmp_path):
    found = outcomes(trials_of(command), command)
    names = [f"SASRec-{row}-seed{seed}" for seed in (1, 2) for row in ("Base", "TSLRec")]
    assert [outcome.trial.name for outcome in found] == names
    events = [(what, name) for what, name, _ in noted(tmp_path)]
    for seed in (1, 2):
        assert events.index(("end", f"SASRec-Base-seed{seed}")) < events.index(("start", f"SASRec-TSLRec-seed{seed}"))
    assert events.index(("start", "SASRec-Base-seed2")) < events.index(("start", "SASRec-TSLRec-seed1"))
    assert sorted(cluster.jobs()) == sorted(names)
    for batch in cluster.batch_files():
        assert {"#SBATCH --partition=gpu", "#SBATCH --time=60", "#SBATCH --mem=4GB"} < {*batch.splitlines()}
    assert [path.name for path in (command.output_dir / "slurm").iterdir()] == ["lock"]  # no pickle is left


def test_a_failed_run_is_named_with_the_last_line_of_its_log(command, cluster, capsys):
    command = replace(command, rows=("CI",), seeds=(1,))
    assert outcomes(trials_of(command), command) == []
    log = command.output_dir / "runs" / "toy" / "SASRec-CI-seed1.log"
    assert f"1 of 1 runs failed:\ntoy SASRec-CI-seed1: error: out of luck (see {log})" in capsys.readouterr().out


def test_a_run_that_slurm_has_ended_says_so(command, cluster):
    cluster.set("hold")
    with slurm_jobs(ASKED, command.output_dir) as launcher:
        running = launcher.start(jobs_of(command)[0])
        wait_until(lambda: len(cluster.processes()) == 1)
        os.killpg(cluster.processes()[0], signal.SIGKILL)
        next(cluster.folder.glob("*.state")).write_text("TIMEOUT")
        wait_until(lambda: running.status() == 1)
        assert running.ended_by().endswith("ended as TIMEOUT")


@pytest.mark.parametrize("held", [True, False], ids=["queued", "running"])
def test_stopping_a_report_cancels_its_jobs(held, command, cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(slurm, "command_line", lambda job, _: ["sleep", "60"])
    if held:
        cluster.set("hold")
    state = "PENDING" if held else "RUNNING"
    kill_when(lambda: list(cluster.jobs().values()) == [state, state])
    with pytest.raises(KeyboardInterrupt):
        outcomes(trials_of(command), command)
    assert cluster.jobs() == {f"SASRec-Base-seed{seed}": "CANCELLED by 1000" for seed in (1, 2)}
    wait_until(lambda: cluster.processes() == [])


def test_stopping_a_report_while_it_submits_cancels_that_job_too(command, cluster):
    cluster.set("hold")
    cluster.set("slow")  # sbatch has put the job into the queue, and has not told its id
    kill_when(lambda: len(cluster.jobs()) == 1)
    with pytest.raises(KeyboardInterrupt):
        outcomes(trials_of(command), command)
    assert cluster.jobs() == {"SASRec-Base-seed1": "CANCELLED by 1000"}


def test_what_waits_in_the_queue_is_shown(command, cluster):
    cluster.set("hold")
    first, *_ = jobs_of(command)
    with slurm_jobs(ASKED, command.output_dir) as launcher:
        runs = _Runs([first], 1, launcher)
        runs.start(print)
        assert str(runs) == "toy SASRec-Base-seed1 (queued)"
        cluster.unset("hold")
        wait_until(lambda: str(runs) == "toy SASRec-Base-seed1")


def test_the_job_of_a_killed_report_is_taken_over(command, cluster, tmp_path):
    command = replace(command, rows=("Base",), seeds=(1,))
    cluster.set("hold")
    with slurm_jobs(ASKED, command.output_dir) as launcher:
        launcher.start(jobs_of(command)[0])  # and no more is heard of that report
    threading.Timer(0.3, cluster.unset, ("hold",)).start()
    assert len(outcomes(trials_of(command), command)) == 1
    assert len(cluster.batch_files()) == 1
    assert [what for what, *_ in noted(tmp_path)] == ["start", "end"]


@pytest.mark.parametrize("change", ["cancelled", "other settings"])
def test_a_job_that_cannot_give_the_result_is_not_taken_over(change, command, cluster):
    cluster.set("hold")
    with slurm_jobs(ASKED, command.output_dir) as launcher:
        former = launcher.start(jobs_of(command)[0])
    if change == "cancelled":
        former._submitted.cancel()
    else:
        command = replace(command, settings=(*command.settings, "--learning_rate=0.1"))
    with slurm_jobs(ASKED, command.output_dir) as launcher:
        assert launcher.start(jobs_of(command)[0]).result != former.result


def test_a_queue_that_takes_fewer_gets_fewer_at_once(command, cluster, tmp_path):
    command = replace(command, rows=("Base",))
    cluster.set("limit", "1")
    assert len(outcomes(trials_of(command), command)) == 2
    assert [what for what, *_ in noted(tmp_path)] == ["start", "end"] * 2


def test_a_cluster_that_takes_no_job_ends_the_report_with_its_reason(command, cluster):
    cluster.set("limit", "0")
    with pytest.raises(Refused, match="refused toy SASRec-Base-seed1: sbatch: error: QOSMaxSubmitJobPerUserLimit"):
        outcomes(trials_of(command), command)


def test_a_machine_without_slurm_is_named_before_anything_runs(command, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="this machine has no sbatch, srun, sacct, scancel"):
        outcomes(trials_of(command), command)


def test_a_value_that_submitit_does_not_take_is_named(command, cluster):
    command = replace(command, slurm={**ASKED, "mem_gb": "4GB"})
    with pytest.raises(ConfigError, match=r'--slurm has a value.*"mem_gb" expected type'):
        outcomes(trials_of(command), command)
    assert cluster.jobs() == {}


def test_a_folder_that_others_can_write_to_is_refused(command, cluster):
    (command.output_dir / "slurm").mkdir(parents=True, mode=0o755)
    with pytest.raises(PermissionError, match="must be a folder that you alone can read and write"):
        outcomes(trials_of(command), command)
    assert cluster.jobs() == {}


def test_a_job_at_its_time_limit_goes_back_into_the_queue_and_goes_on(command, cluster, tmp_path, monkeypatch):
    script = "import pathlib, sys, time; begun = pathlib.Path('begun'); print('life', begun.exists(), flush=True)\n"
    script += "if begun.exists(): pathlib.Path(sys.argv[1]).touch()\nelse: begun.touch(); time.sleep(60)"
    monkeypatch.setattr(slurm, "command_line", lambda job, result: [sys.executable, "-c", script, str(result)])
    job = jobs_of(command)[0]
    with slurm_jobs({"timeout_min": 1}, command.output_dir) as launcher:
        running = launcher.start(job)
        wait_until((tmp_path / "begun").exists)
        cluster.near_time_limit()
        wait_until(lambda: running.status() is not None)
        assert running.status() == 0
    assert job.log.read_text().splitlines() == ["life False", "life True"]
    assert len(cluster.batch_files()) == 1
