"""The commands of jobs, and the files that their processes write."""

from pathlib import Path

from recbole_tslrec.experiments import processes
from recbole_tslrec.experiments.jobs import Job, trials_of
from recbole_tslrec.experiments.processes import command_line, local_processes


def test_the_process_of_a_job_is_the_command_that_a_user_would_write(command):
    base, ours = (Job(trial, command) for trial in trials_of(command)[:2])
    assert command_line(base, Path("result.json"))[1:5] == ["-m", "recbole_tslrec", "--model=SASRec", "--dataset=toy"]
    assert command_line(ours, Path("result.json"))[3] == "--model=TSLRecSASRec"
    assert "--seed=1" in command_line(ours, Path("result.json"))


def test_two_processes_of_one_job_write_to_two_files(command, monkeypatch):
    monkeypatch.setattr(processes, "command_line", lambda job, result: ["touch", str(result)])
    job = Job(trials_of(command)[0], command)
    with local_processes(2) as launcher:
        running = [launcher.start(job) for _ in range(2)]
        for process in running:
            process.wait()
    assert len(list(job.file.parent.glob(f"{job.file.name}.*.unread"))) == 2
    running[0].discard()
    assert running[1].result.is_file()
