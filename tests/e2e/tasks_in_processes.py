"""Run by torchrun in two processes, or imported by one: every task of the engine, fine-tuned without dropout."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from recbole_tslrec.compute import distributed
from recbole_tslrec.sft.fine_tuning import fine_tune
from recbole_tslrec.sft.settings import FineTuningSettings
from recbole_tslrec.sft.task import Task
from tests.conftest import small_config
from tests.sft.tasks import TASKS

QUICK = {"sft_epochs": 2, "sft_stopping_step": 2, "sft_learning_rate": 0.01}


def without_dropout(task: Task) -> Any:
    """The network of a task; each process would draw its own random numbers."""
    network = task.network()
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if isinstance(getattr(module, "dropout", None), float):  # of T5's attention
            module.dropout = 0.0
    return network


def fine_tune_all(folder: Path) -> None:
    """Leave the best epoch of every task in ``folder/<task>``."""
    for name, (make_task, keys) in TASKS.items():
        config = small_config(folder / f"data{distributed.process_rank()}", **{**keys, **QUICK})
        task = make_task(config)
        (folder / name).mkdir(parents=True, exist_ok=True)
        once = replace(task, network=lambda task=task: without_dropout(task))
        fine_tune(FineTuningSettings.of(config), once, folder / name)


if __name__ == "__main__":
    distributed.join("cpu")
    fine_tune_all(Path(sys.argv[1]))
    distributed.leave()
