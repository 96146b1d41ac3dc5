"""Where a run computes."""

import os
from typing import Any

import pytest
import recbole.config
import torch

from recbole_tslrec.compute.distributed import own_device
from recbole_tslrec.configuration.config import Config

VISIBLE = "CUDA_VISIBLE_DEVICES"
CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture(autouse=True)
def a_machine_with_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: os.environ.get(VISIBLE) != "")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("ACCELERATE_USE_CPU", raising=False)
    monkeypatch.setenv(VISIBLE, "")  # so that what a test leaves behind is undone
    monkeypatch.delenv(VISIBLE)


def device_of(**settings: Any) -> Any:
    return Config("SASRec", "ml-100k", [], settings)["device"]


def test_the_first_gpu_is_used_by_default() -> None:
    assert device_of() == GPU
    assert VISIBLE not in os.environ  # so that a report can share out all of them


@pytest.mark.parametrize("visible", ["3", "2,3", "GPU-5d9f2c1e"])
def test_the_gpus_that_a_scheduler_has_made_visible_are_used(monkeypatch: pytest.MonkeyPatch, visible: str) -> None:
    monkeypatch.setenv(VISIBLE, visible)
    assert device_of() == GPU
    assert os.environ[VISIBLE] == visible


@pytest.mark.parametrize(("gpu_id", "visible"), [(1, "1"), ("1", "1"), ([0, 2], "0,2"), ("0,2", "0,2")])
def test_gpu_id_chooses_what_is_visible(monkeypatch: pytest.MonkeyPatch, gpu_id: Any, visible: str) -> None:
    monkeypatch.setenv(VISIBLE, "3")
    assert device_of(gpu_id=gpu_id) == GPU
    assert os.environ[VISIBLE] == visible


def test_hidden_gpus_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VISIBLE, "")
    assert device_of() == CPU


@pytest.mark.parametrize(
    "settings", [{"use_gpu": False}, {"gpu_id": ""}, {"gpu_id": None}, {"use_gpu": False, "gpu_id": 1}]
)
def test_a_run_on_the_cpu_leaves_the_next_its_gpus(monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]) -> None:
    monkeypatch.setenv(VISIBLE, "3")
    assert device_of(**settings) == CPU
    assert device_of() == GPU
    assert os.environ[VISIBLE] == "3"


def test_accelerate_may_choose_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    assert own_device() == torch.device("cuda", 0)
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")  # as accelerate launch --cpu does
    assert device_of() == CPU
    assert own_device() == CPU


@pytest.mark.parametrize(("gpus", "expected"), [(2, 1), (1, 0)])
def test_a_process_takes_the_gpu_of_its_number_or_the_only_one(
    monkeypatch: pytest.MonkeyPatch, gpus: int, expected: int
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert own_device() == torch.device("cuda", expected)


@pytest.mark.parametrize("settings", [{"use_gpu": False}, {"gpu_id": ""}, {"gpu_id": None}])
def test_processes_that_may_not_use_gpus_use_none(monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert device_of() == torch.device("cuda", 0)
    assert device_of(**settings) == CPU


def test_plain_recbole_reads_use_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["run_recbole.py", "--use_gpu=False"])
    config = recbole.config.Config("SASRec", "ml-100k", config_dict={"train_neg_sample_args": None})
    assert config["device"] == CPU
