"""Running what is missing: order, failures, going on, and being stopped. The processes are stand-ins for runs."""

import os
import signal
import sys
import threading
import time
from dataclasses import replace

import pytest

from recbole_tslrec.experiments import processes
from recbole_tslrec.experiments.jobs import Job, trials_of
from recbole_tslrec.experiments.processes import local_processes
from recbole_tslrec.experiments.runner import OnlyListed, outcomes, run_jobs
from tests.experiments.stand_ins import noted, stand_in


@pytest.fixture
def events(tmp_path, monkeypatch):
    """``events()``: what the processes noted, in order."""
    monkeypatch.setattr(processes, "command_line", stand_in(tmp_path))
    return lambda: noted(tmp_path)


def run_here(jobs, count):
    with local_processes(count) as launcher:
        return run_jobs(jobs, count, launcher)


def test_the_rows_of_a_backbone_run_one_after_another(command, events):
    found = outcomes(trials_of(command), replace(command, jobs=2))
    assert [outcome.trial.name for outcome in found] == [
        f"SASRec-{row}-seed{seed}" for seed in (1, 2) for row in ("Base", "TSLRec")
    ]
    noted = [(what, name) for what, name, _ in events()]
    for seed in (1, 2):
        assert noted.index(("end", f"SASRec-Base-seed{seed}")) < noted.index(("start", f"SASRec-TSLRec-seed{seed}"))


def test_chains_run_side_by_side_and_share_the_cores(command, events, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(6))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    run_here([Job(trial, command) for trial in trials_of(replace(command, rows=("Base",)))], 2)
    assert [what for what, _, _ in events()] == ["start", "start", "end", "end"]
    assert events()[0][2] == "3"


def test_a_failed_run_stops_no_other_and_is_named_with_its_reason(command, events, capsys):
    command = replace(command, rows=("Base", "CI", "TSLRec"), seeds=(1,))
    found = outcomes(trials_of(command), command)
    assert [outcome.trial.row for outcome in found] == ["Base", "TSLRec"]
    log = command.output_dir / "runs" / "toy" / "SASRec-CI-seed1.log"
    assert command.failed == ["toy SASRec-CI-seed1"]
    assert f"1 of 3 runs failed:\ntoy SASRec-CI-seed1: error: out of luck (see {log})" in capsys.readouterr().out


def test_the_same_command_runs_only_what_is_missing(command, events):
    outcomes(trials_of(replace(command, seeds=(1,))), command)
    outcomes(trials_of(command), command)
    started = [name for what, name, _ in events() if what == "start"]
    assert started == [f"SASRec-{row}-seed{seed}" for seed in (1, 2) for row in ("Base", "TSLRec")]


def test_budget_lists_and_runs_nothing(command, events, capsys):
    with pytest.raises(OnlyListed):
        outcomes(trials_of(command), replace(command, budget=True))
    assert "4 of 4 runs are missing" in capsys.readouterr().out
    assert events() == []


def test_kill_stops_the_processes_too(command, tmp_path, monkeypatch):
    marker = tmp_path / "marker"
    script = f"import pathlib, time; time.sleep(3); pathlib.Path({str(marker)!r}).touch()"
    monkeypatch.setattr(processes, "command_line", lambda job, _: [sys.executable, "-c", script])
    before = signal.getsignal(signal.SIGTERM)
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM)).start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run_here([Job(trials_of(command)[0], command)], 1)
    assert time.monotonic() - started < 3
    assert signal.getsignal(signal.SIGTERM) is before
    time.sleep(3)
    assert not marker.exists()


def test_a_process_that_was_killed_from_outside_says_so(command, monkeypatch):
    script = "import os, signal; print('epoch 3', flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    monkeypatch.setattr(processes, "command_line", lambda job, _: [sys.executable, "-c", script])
    (failure,) = run_here([Job(trials_of(command)[0], command)], 1).values()
    assert failure == "killed by signal 9; epoch 3"


@pytest.mark.slow
def test_two_seeds_of_table_2_from_one_command(command, tmp_path):
    from recbole_tslrec.report import main

    argv = ["table2", "--datasets=toy", "--models=SASRec", "--seeds=1,2", "--rows=popularity,Base,TSLRec", "--jobs=2"]
    main([*argv, f"--output_dir={tmp_path / 'out'}", *command.settings])
    table = (tmp_path / "out" / "table2" / "table-2-unmasked.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in table] == ["row", "popularity", "SASRec Base", "SASRec TSLRec"]
    assert all("±" in line for line in table[2:])
    assert (tmp_path / "out" / "index.html").is_file()
