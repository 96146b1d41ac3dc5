"""Everything computes on the device that it is given: no tensor stays behind on the CPU."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from recbole_tslrec.models.backbones import BACKBONES
from tests.second_device import COMPILER, TORCH

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(COMPILER is None, reason="the second device is compiled with g++"),
    pytest.mark.skipif(not torch.__version__.startswith(TORCH), reason=f"the second device is made for torch {TORCH}"),
]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("both")
    command = [sys.executable, "-m", "tests.second_device.on_both", str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    finished = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr[-3000:]
    return json.loads((folder / "found.json").read_text())


def test_every_model_computes_the_same_there(found: Any) -> None:
    assert found["models"].keys() == {f"{family} {name}" for family in ("Base", "TSLRec", "CI") for name in BACKBONES}
    differ = {name: of_model for name, of_model in found["models"].items() if max(of_model.values()) > 1e-5}
    assert not differ


def test_whole_runs_end_there_as_on_the_cpu(found: Any) -> None:
    # rounding alone lets the figures of 40 users differ
    for model, (on_cpu, there) in found["runs"].items():
        assert there == pytest.approx(on_cpu, abs=0.05), model
