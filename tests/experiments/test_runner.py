"""Running what is missing: order, failures, going on, and being stopped. The processes are stand-ins for runs."""

import json
import os
import signal
import sys
import threading
import time
from dataclasses import replace

import pytest

from recbole_tslrec.experiments import runner
from recbole_tslrec.experiments.jobs import Job, trials_of
from recbole_tslrec.experiments.runner import OnlyListed, command_line, outcomes, run_jobs, unread

# writes what a run writes; notes when it began and ended
SCRIPT = """
import json, os, pathlib, sys, time
result, events, name = sys.argv[1:]
with open(events, "a") as file: file.write(json.dumps(["start", name, os.environ["OMP_NUM_THREADS"]]) + chr(10))
time.sleep(0.3)
if "CI" in name: sys.exit("some trace" + chr(10) + "error: out of luck")
pathlib.Path("evaluation").mkdir(exist_ok=True)
row = name.split("-")[1]
stage = {"stage": "evaluation", "row": row, "folder": "evaluation", "built_in_seconds": 1.0}
pathlib.Path(result).write_text(json.dumps({"stages": [stage]}))
with open(events, "a") as file: file.write(json.dumps(["end", name, ""]) + chr(10))
"""


@pytest.fixture
def events(tmp_path, monkeypatch):
    """``events()``: what the processes noted, in order."""
    file = tmp_path / "events.jsonl"

    def stand_in(job):
        return [sys.executable, "-c", SCRIPT, str(unread(job)), str(file), job.trial.name]

    monkeypatch.setattr(runner, "command_line", stand_in)
    return lambda: [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


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
    run_jobs([Job(trial, command) for trial in trials_of(replace(command, rows=("Base",)))], processes=2)
    assert [what for what, _, _ in events()] == ["start", "start", "end", "end"]
    assert events()[0][2] == "3"


def test_a_failed_run_stops_no_other_and_is_named_with_its_reason(command, events, capsys):
    command = replace(command, rows=("Base", "CI", "TSLRec"), seeds=(1,))
    found = outcomes(trials_of(command), command)
    assert [outcome.trial.row for outcome in found] == ["Base", "TSLRec"]
    log = command.output_dir / "runs" / "toy" / "SASRec-CI-seed1.log"
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
    monkeypatch.setattr(runner, "command_line", lambda job: [sys.executable, "-c", script])
    before = signal.getsignal(signal.SIGTERM)
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM)).start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run_jobs([Job(trials_of(command)[0], command)], processes=1)
    assert time.monotonic() - started < 3
    assert signal.getsignal(signal.SIGTERM) is before
    time.sleep(3)
    assert not marker.exists()


def test_the_process_of_a_job_is_the_command_that_a_user_would_write(command):
    base, ours = (Job(trial, command) for trial in trials_of(command)[:2])
    assert command_line(base)[1:5] == ["-m", "recbole_tslrec", "--model=SASRec", "--dataset=toy"]
    assert command_line(ours)[3] == "--model=TSLRecSASRec"
    assert "--seed=1" in command_line(ours)


@pytest.mark.slow
def test_two_seeds_of_table_2_from_one_command(command, tmp_path):
    from recbole_tslrec.report import main

    argv = ["table2", "--datasets=toy", "--models=SASRec", "--seeds=1,2", "--rows=popularity,Base,TSLRec", "--jobs=2"]
    main([*argv, f"--output_dir={tmp_path / 'out'}", *command.settings])
    table = (tmp_path / "out" / "table2" / "table-2-unmasked.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in table] == ["row", "popularity", "SASRec Base", "SASRec TSLRec"]
    assert all("±" in line for line in table[2:])
    assert (tmp_path / "out" / "index.html").is_file()
