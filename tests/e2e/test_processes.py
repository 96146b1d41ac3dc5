"""The command line in processes of its own: killed and started again, and several at once."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from recbole_tslrec.sft.checkpoint import CHECKPOINT
from recbole_tslrec.store.artifacts import Artifact, open_artifact
from tests.conftest import TINY_SCRATCH, walks, write_dataset
from tests.e2e.tasks_in_processes import fine_tune_all
from tests.sft.tasks import TASKS

SCRIPT = Path(__file__).parents[2] / "run_recbole_tslrec.py"
TWO_PROCESSES = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
SETTINGS = {
    **TINY_SCRATCH,
    "hidden_dropout_prob": 0.0,  # each process would draw its own
    "attn_dropout_prob": 0.0,
    "MAX_ITEM_LIST_LENGTH": 8,
    "epochs": 1,
    "group_count": 4,
    "sft_epochs": 4,
    "sft_batch_size": 4,
    "sft_tokens_per_batch": 200,
    "sft_save_steps": 3,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds a dataset, and below ``one`` the artifacts of an undisturbed run in one process."""
    folder = tmp_path_factory.mktemp("processes")
    write_dataset(folder / "data", "toy", walks())
    run(command(folder, "one"), folder)
    return folder


def command(folder: Path, artifacts: str) -> list[str]:
    """The arguments of a run."""
    keys = {**SETTINGS, "data_path": folder / "data", "artifacts_dir": folder / artifacts}
    arguments = ["--model=TSLRecSASRec", "--dataset=toy"]
    return [str(SCRIPT), *arguments, *(f"--{key}={value}" for key, value in keys.items())]


def environment() -> dict[str, str]:
    paths = f"{SCRIPT.parent}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    return {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}


def run(arguments: list[str], folder: Path) -> str:
    finished = subprocess.run(
        [sys.executable, *arguments], env=environment(), cwd=folder, capture_output=True, text=True, timeout=300
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout + finished.stderr


def artifact(folder: Path, kind: str) -> Artifact:
    (found,) = (path for path in (folder / "toy").glob(f"{kind}-*") if path.is_dir())
    return open_artifact(found, kind)


def test_sft_killed_with_signal_9_ends_with_the_same_weights(folder: Path) -> None:
    arguments, artifacts = command(folder, "killed"), folder / "killed"
    killed = subprocess.Popen([sys.executable, *arguments], env=environment(), cwd=folder, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list(artifacts.glob("toy/sft-*.partial/unfinished/steps/00000000[3-9]")):
        assert killed.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.002)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert not list(artifacts.glob("toy/sft-*/manifest.json"))

    assert "SFT goes on from" in run(arguments, folder)
    for kind in ("sft", "knowledge"):
        assert artifact(artifacts, kind).hash == artifact(folder / "one", kind).hash
    assert not list(artifacts.glob("toy/sft-*/unfinished"))


def test_two_processes_find_what_one_finds(folder: Path) -> None:
    output = run([*TWO_PROCESSES, *command(folder, "two")], folder)
    assert output.count("[5/8 sft]") == 1  # one process speaks

    for kind in ("backbone", "recommender"):
        reports = [artifact(folder / name, kind).manifest["report"] for name in ("one", "two")]
        assert reports[1] == reports[0]  # the validation, rounded as RecBole does
    files = [(folder / name).glob("toy/evaluation-*/metrics.json") for name in ("one", "two")]
    metrics = [{path.read_text() for path in of_run} for of_run in files]  # of Base and of TSLRec
    assert metrics[1] == metrics[0]

    alone, together = (artifact(folder / name, "sft") for name in ("one", "two"))
    assert (alone.manifest["processes"], together.manifest["processes"]) == (1, 2)
    report, expected = together.manifest["report"], alone.manifest["report"]
    assert report["train_examples"] == expected["train_examples"]
    assert report["valid"]["loss"] == pytest.approx(expected["valid"]["loss"], abs=1e-5)
    assert report["valid"]["top1"] == pytest.approx(expected["valid"]["top1"], abs=1e-5)
    tables = [artifact(folder / name, "knowledge").tensors() for name in ("one", "two")]
    for name, table in tables[0].items():
        torch.testing.assert_close(tables[1][name], table, rtol=0, atol=1e-5, msg=name)


def test_every_task_ends_in_two_processes_as_in_one(tmp_path: Path) -> None:
    run([*TWO_PROCESSES, "-m", "tests.e2e.tasks_in_processes", str(tmp_path / "two")], tmp_path)
    fine_tune_all(tmp_path / "one")
    for task in TASKS:
        files = sorted((tmp_path / "one" / task / CHECKPOINT).rglob("*.safetensors"))
        assert files
        for file in files:
            together = load_file(tmp_path / "two" / file.relative_to(tmp_path / "one"))
            for name, weight in load_file(file).items():
                torch.testing.assert_close(together[name], weight, rtol=0, atol=1e-4, msg=f"{task} {name}")


def test_fsdp2_has_the_gradients_of_one_piece(folder: Path) -> None:
    """2 layers of 7 linear modules with two LoRA matrices each, projection and head with weight and bias."""
    output = run([*TWO_PROCESSES, str(Path(__file__).with_name("fsdp2_gradients.py"))], folder)
    assert f"{2 * 7 * 2 + 4} gradients agree" in output
