"""Training with an exported table needs no LLM library, and importing the package leaves torch as it was."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import recbole_tslrec

MODULES = [
    "recbole_tslrec",
    "recbole_tslrec.settings",
    "recbole_tslrec.augmentation.settings",
    "recbole_tslrec.evaluation.settings",
    "recbole_tslrec.llm.settings",
    "recbole_tslrec.sft.settings",
    "recbole_tslrec.reconstruction.settings",
    "recbole_tslrec.configuration.config",
    "recbole_tslrec.configuration.registration",
    "recbole_tslrec.store.artifacts",
    "recbole_tslrec.augmentation.fusion",
    "recbole_tslrec.augmentation.item_table",
    "recbole_tslrec.augmentation.knowledge",
    "recbole_tslrec.models",
    "recbole_tslrec.models.backbones",
    "recbole_tslrec.models.factory",
    "recbole_tslrec.training.recommender",
    "recbole_tslrec.pipeline",
    "recbole_tslrec.quick_start",
    "recbole_tslrec.cli",
    "recbole_tslrec.serving.recommend",
    "recbole_tslrec.serving.extend",
]
SCRIPT = """
import importlib, json, sys
import torch
state = {}
for name in sys.argv[1:]:
    importlib.import_module(name)
    state[name] = {"modules": sorted(sys.modules), "anomaly_mode": torch.is_anomaly_enabled()}
print(json.dumps(state))
"""


@pytest.fixture(scope="module")
def state_after():
    """For each module, imported in this order in a new process: ``sys.modules`` and torch's anomaly mode."""
    environment = {**os.environ, "PYTHONPATH": str(Path(recbole_tslrec.__file__).parents[1])}
    command = [sys.executable, "-c", SCRIPT, *MODULES]
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return json.loads(finished.stdout.splitlines()[-1])


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("library", ["transformers", "peft", "accelerate"])
def test_llm_library_is_not_imported(state_after, module, library):
    assert module in state_after[module]["modules"]
    assert library not in state_after[module]["modules"]


@pytest.mark.parametrize("module", MODULES)
def test_anomaly_mode_stays_off(state_after, module):
    """RecBole turns it on when its models are imported; every training step would be slower."""
    assert state_after[module]["anomaly_mode"] is False
