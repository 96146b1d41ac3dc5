"""The commands of jobs, the GPUs of their processes, and the files that they write."""

import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

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


@pytest.mark.parametrize(
    ("visible", "expected"), [(None, ["0", "1", "2", "1"]), ("5,GPU-3f,7", ["5", "GPU-3f", "7", "GPU-3f"])]
)
def test_each_process_takes_the_gpu_with_the_fewest(command, monkeypatch, tmp_path, visible, expected):
    monkeypatch.delenv("ACCELERATE_USE_CPU")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible or "")
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    wait = f"echo $CUDA_VISIBLE_DEVICES; until [ -e {tmp_path}/end ]; do sleep 0.01; done"
    monkeypatch.setattr(processes, "command_line", lambda job, result: ["bash", "-c", wait])
    jobs = [Job(trial, command) for trial in trials_of(command)[:4]]
    with local_processes(4) as launcher:
        started = [launcher.start(job) for job in jobs[:3]]
        while not jobs[1].log.read_text():
            time.sleep(0.01)
        started[1].stop()
        started[1].wait()
        started.append(launcher.start(jobs[3]))
        (tmp_path / "end").touch()
        for process in started:
            process.wait()
    assert [job.log.read_text().strip() for job in jobs] == expected


@pytest.mark.parametrize(("gpu_id", "expected"), [("0,1", "--gpu_id=0"), ("", "--gpu_id=")])
def test_a_process_has_one_of_the_gpus_that_the_user_names(command, monkeypatch, gpu_id, expected):
    monkeypatch.delenv("ACCELERATE_USE_CPU")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    command = replace(command, settings=(*command.settings, f"--gpu_id={gpu_id}"))
    lines = []
    monkeypatch.setattr(processes.subprocess, "Popen", lambda line, **_: lines.append(line))
    with local_processes(1) as launcher:
        launcher.start(Job(trials_of(command)[0], command))
    assert [argument for argument in lines[0] if "gpu_id" in argument] == [expected]


def test_without_gpus_the_environment_stays(command, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(
        processes, "command_line", lambda job, result: ["bash", "-c", "echo ${CUDA_VISIBLE_DEVICES-unset}"]
    )
    job = Job(trials_of(command)[0], command)
    with local_processes(1) as launcher:
        launcher.start(job).wait()
    assert job.log.read_text() == "\n"
