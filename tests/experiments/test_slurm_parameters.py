"""What ``--slurm`` may ask for."""

import pytest

pytest.importorskip("submitit", reason="needs recbole_tslrec[slurm]")

from recbole_tslrec.experiments import command
from recbole_tslrec.experiments.command import parse
from recbole_tslrec.settings import ConfigError


def test_parameters_are_those_of_submitit():
    given = "partition: gpu, gpus_per_node: 1, timeout_min: 600, setup: [module load cuda]"
    assert parse("table2", [f"--slurm={given}"]).slurm == {
        "partition": "gpu",
        "gpus_per_node": 1,
        "timeout_min": 600,
        "setup": ["module load cuda"],
    }


def test_without_it_the_runs_are_processes_of_this_machine():
    assert parse("table2", []).slurm is None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("partion: gpu, timeout_min: 60", r"\[partion\] is no parameter of submitit; did you mean partition\?"),
        ("colour: red, timeout_min: 60", r"\[colour\] is no parameter of submitit; they are account, .*, wckey"),
        ("nodes: 2, timeout_min: 60", r"cannot set \[nodes\]: a run is one process"),
        ("partition: gpu", "needs timeout_min"),
        ("time: 1-00:00:00", "needs timeout_min, the minutes"),
        ("partition=gpu,timeout_min=60", r"must read as partition: gpu, timeout_min: 600, not \[partition=gpu"),
        ("partition: [gpu", "must read as"),
    ],
)
def test_wrong_parameters_are_refused(given, message):
    with pytest.raises(ConfigError, match=message):
        parse("table2", [f"--slurm={given}"])


def test_a_report_that_runs_no_trials_has_no_such_argument():
    assert parse("fig3", ["--slurm=timeout_min: 60"]).settings == ("--slurm=timeout_min: 60",)


def test_submitit_is_asked_for(monkeypatch):
    monkeypatch.setattr(command, "find_spec", lambda _: None)
    with pytest.raises(ImportError, match=r"pip install 'recbole_tslrec\[slurm\]'"):
        parse("table2", ["--slurm=timeout_min: 60"])
