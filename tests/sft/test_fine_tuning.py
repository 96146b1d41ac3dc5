"""A task from its examples to a fine-tuned LLM on the disk, and gone on with after an interruption."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from recbole_tslrec.sft.checkpoint import CHECKPOINT
from recbole_tslrec.sft.fine_tuning import fine_tune
from recbole_tslrec.sft.resume import ResumeError
from recbole_tslrec.sft.settings import FineTuningSettings
from recbole_tslrec.sft.trainer import SFTTrainer
from recbole_tslrec.store.artifacts import UNFINISHED
from recbole_tslrec.store.step_checkpoints import latest_step_checkpoint
from tests.sft.tasks import TASKS

EPOCHS, STEPS = 2, 3
REPORTED = {"E4SRec": {"ndcg@10", "top1"}, "LlamaRec": {"ndcg@10", "top1"}, "P5": set(), "POD": set()}
FineTune = Callable[..., tuple[Path, dict[str, Any]]]


class Killed(BaseException):
    """Stands for a signal: nothing in the package catches it."""


@pytest.fixture
def fine_tuned(make_config: Callable[..., Any], tmp_path: Path) -> FineTune:
    """``fine_tuned(task, folder, **settings)``: the folder, and what the manifest gets; with the scratch LLM."""

    def tune(task: str, folder: str, **settings: Any) -> tuple[Path, dict[str, Any]]:
        make_task, keys = TASKS[task]
        quick = {"sft_epochs": EPOCHS, "sft_stopping_step": EPOCHS, "sft_learning_rate": 0.01, "sft_save_steps": 1}
        config = make_config(**{**keys, **quick, **settings})
        (tmp_path / folder).mkdir(exist_ok=True)
        report = fine_tune(FineTuningSettings.of(config), make_task(config), tmp_path / folder)
        return tmp_path / folder, report

    return tune


@pytest.fixture
def killed_before(monkeypatch: pytest.MonkeyPatch) -> Callable[[int | None], None]:
    """``killed_before(step)``: trainings are killed before that step, counted from 0; ``None`` ends that."""
    train_step = SFTTrainer._train_step

    def kill(killed_before_step: int | None) -> None:
        def train_or_die(trainer: SFTTrainer, *args: Any) -> None:
            if trainer.steps_done == killed_before_step:
                raise Killed
            train_step(trainer, *args)

        monkeypatch.setattr(SFTTrainer, "_train_step", train_or_die)

    return kill


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """Everything that was trained."""
    files = (folder / CHECKPOINT).rglob("*.safetensors")
    return {f"{path.name} {name}": weight for path in files for name, weight in load_file(path).items()}


@pytest.mark.parametrize("task", TASKS)
def test_the_best_epoch_is_left_beside_step_checkpoints(fine_tuned: FineTune, task: str) -> None:
    folder, report = fine_tuned(task, "whole")
    own_layers = set() if task == "LlamaRec" else {"own_layers.safetensors"}  # its head is that of the LLM
    assert {name.split()[0] for name in weights(folder)} == {"llm.safetensors", *own_layers}
    assert latest_step_checkpoint(folder / UNFINISHED) is not None
    assert report["epochs"] == EPOCHS
    assert set(report["valid"]) == {"loss"} | REPORTED.get(task, {"top1"})


@pytest.mark.parametrize(
    ("task", "train", "valid", "instances"),
    [
        ("own", 9, 3, 9 * 2),
        ("rest", 9, 3, 9 * 2),
        ("E4SRec", 12, 12, None),
        ("LlamaRec", 12, 12, None),
        ("P5", 12, 12, None),
        ("POD", 24, 12, None),
    ],
)
def test_the_report_counts_examples_and_says_what_an_epoch_costs(
    fine_tuned: FineTune, task: str, train: int, valid: int, instances: int | None
) -> None:
    """Twelve users with three interactions: one example each, or, without the last that is held out, one for each
    interaction but the first; POD adds a list for each user."""
    _, report = fine_tuned(task, "whole")
    assert (report["train_examples"], report["valid_examples"]) == (train, valid)
    estimate = report["estimate"]
    assert estimate["epoch"]["prompts"] == train
    # beside the paper's task stands what one prompt an interaction would cost
    assert estimate.get("instance_level_epoch", {}).get("prompts") == instances
    assert ("mean_target_loss" in report) == (task in ("own", "rest"))


# amid, before and at the end of an epoch; where is the engine's concern, so each other task is killed once
@pytest.mark.parametrize(
    ("task", "killed_before_step"),
    [("own", 1), ("own", STEPS), ("own", 2 * STEPS - 1), *((task, STEPS + 1) for task in TASKS if task != "own")],
)
def test_an_interrupted_fine_tuning_ends_bit_equal(
    fine_tuned: FineTune,
    killed_before: Callable[[int | None], None],
    tmp_path: Path,
    task: str,
    killed_before_step: int,
) -> None:
    undisturbed, expected = fine_tuned(task, "undisturbed")
    killed_before(killed_before_step)
    with pytest.raises(Killed):
        fine_tuned(task, "killed")
    latest = latest_step_checkpoint(tmp_path / "killed" / UNFINISHED)
    assert latest is not None
    assert int(latest.name) == killed_before_step
    killed_before(None)
    torch.manual_seed(99)  # a new process knows nothing of the random numbers
    resumed, found = fine_tuned(task, "killed")
    del expected["estimate"], found["estimate"]  # it measures the machine's speed
    assert found == expected
    assert weights(resumed).keys() == weights(undisturbed).keys()
    for name, weight in weights(undisturbed).items():
        assert torch.equal(weights(resumed)[name], weight), name


def test_the_checkpoints_of_another_task_are_refused(
    fine_tuned: FineTune, killed_before: Callable[[int | None], None]
) -> None:
    killed_before(2)
    with pytest.raises(Killed):
        fine_tuned("E4SRec", "killed")
    killed_before(None)
    with pytest.raises(ResumeError, match="was made with other settings"):
        fine_tuned("own", "killed")
