"""What runs will cost, told by finished runs of another seed."""

from dataclasses import replace

from recbole_tslrec.experiments.budget import estimates, list_runs
from recbole_tslrec.experiments.jobs import Job, trials_of

BASE = {"backbone": 100.0, "evaluation of Base": 1.0}
OURS = {**BASE, "sft": 50.0, "recommender": 200.0, "evaluation of TSLRec": 2.0}


def jobs_of(command):
    return [Job(trial, command) for trial in trials_of(command)]


def test_a_backbone_is_counted_once_though_both_rows_name_it(command, finish):
    base, ours, *other_seed = jobs_of(command)
    finish(base, BASE)
    finish(ours, OURS)
    assert list(estimates(other_seed)) == [(other_seed[0], 101.0), (other_seed[1], 252.0)]


def test_a_row_alone_pays_for_its_backbone(command, finish):
    _, ours, _, other = jobs_of(command)
    finish(ours, OURS)
    assert list(estimates([other])) == [(other, 353.0)]


def test_what_a_finished_job_of_the_chain_has_built_costs_nothing(command, finish):
    base, ours, other_base, other_ours = jobs_of(command)
    for job, seconds in ((base, BASE), (ours, OURS), (other_base, BASE)):
        finish(job, seconds)
    assert list(estimates([other_base, other_ours])) == [(other_ours, 252.0)]


def test_runs_of_other_settings_tell_nothing(command, finish):
    base, *_ = jobs_of(replace(command, settings=(*command.settings, "--learning_rate=0.1")))
    finish(base, BASE)
    _, _, other, _ = jobs_of(command)
    assert list(estimates([other])) == [(other, None)]


def test_the_list_names_every_run_and_the_sum(command, finish):
    jobs = jobs_of(replace(command, seeds=(1, 2, 3), rows=("Base",)))
    finish(jobs[0], {"backbone": 5400.0, "evaluation of Base": 0.0})
    lines = list_runs(jobs).splitlines()
    assert lines[2].split() == ["toy", "SASRec-Base-seed1", "done"]
    assert lines[3].split() == ["toy", "SASRec-Base-seed2", "5400"]
    assert lines[-1] == "2 of 3 runs are missing: 3:00:00 (hours:minutes:seconds)"


def test_runs_of_unknown_time_are_counted_apart(command):
    assert list_runs(jobs_of(command)).splitlines()[-1] == (
        "4 of 4 runs are missing; the time of 4 is unknown, for no run like them has finished"
    )
