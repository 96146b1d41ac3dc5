"""An interrupted SFT goes on from its last step checkpoint and ends with the weights of an undisturbed one."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate.utils import DistributedType
from recbole.utils import init_seed

from recbole_tslrec.sft import resume
from recbole_tslrec.sft.checkpoint import CHECKPOINT
from recbole_tslrec.sft.resume import ResumeError
from recbole_tslrec.sft.trainer import SFTTrainer
from recbole_tslrec.store import step_checkpoints
from recbole_tslrec.store.step_checkpoints import STEP_CHECKPOINTS, latest_step_checkpoint
from tests.sft.tasks import ENCODER_DECODERS, TASKS, fit, trained_weights, trainer_of

EPOCHS, STEPS = 3, 3
MakeTrainer = Callable[..., SFTTrainer]


class Killed(BaseException):
    """Stands for a signal: nothing in the package catches it."""


@pytest.fixture
def make_trainer(make_config: Callable[..., Any], llama_folder: Path, t5_folder: Path, tmp_path: Path) -> MakeTrainer:
    """``make_trainer(folder, task, **settings)``; LoRA dropout, so that the state of the random numbers matters."""

    def make(folder: str, task: str = "own", **settings: Any) -> SFTTrainer:
        make_task, keys = TASKS[task]
        llm = t5_folder if task in ENCODER_DECODERS else llama_folder
        small = {"lora_rank": 2, "lora_dropout": 0.5, "sft_epochs": EPOCHS, "sft_stopping_step": EPOCHS}
        small |= {"llm_name_or_path": str(llm), "sft_learning_rate": 0.01, "sft_save_steps": 1}
        config = make_config(**{**keys, **small, **settings})
        init_seed(0, True)
        return trainer_of(config, make_task(config), tmp_path / folder)

    return make


def train(trainer: SFTTrainer, killed_before_step: int | None = None) -> Any:
    """Train; be killed before a step, counted from 0 over all epochs."""
    step, steps = trainer._train_step, []

    def train_step(*args: Any) -> None:
        if len(steps) == killed_before_step:
            raise Killed
        steps.append(1)
        step(*args)

    trainer._train_step = train_step  # type: ignore[method-assign]
    return fit(trainer)


def go_on(trainer: SFTTrainer) -> Any:
    checkpoint = latest_step_checkpoint(Path(trainer.checkpoint_dir))
    assert checkpoint is not None
    trainer.resume_checkpoint(str(checkpoint))
    return train(trainer)


# amid, before and at the end of an epoch; where is the engine's concern, so each other task is killed once
@pytest.mark.parametrize(
    ("task", "killed_before_step"),
    [("own", 2), ("own", STEPS), ("own", 2 * STEPS - 1), *((task, STEPS + 1) for task in TASKS if task != "own")],
)
def test_a_killed_training_ends_bit_equal(make_trainer: MakeTrainer, task: str, killed_before_step: int) -> None:
    undisturbed = make_trainer("undisturbed", task)
    expected = train(undisturbed)

    with pytest.raises(Killed):
        train(make_trainer("killed", task), killed_before_step)
    torch.manual_seed(99)  # a new process knows nothing of the random numbers
    resumed = make_trainer("killed", task)
    assert go_on(resumed) == expected
    assert resumed.train_loss_dict == undisturbed.train_loss_dict
    found = trained_weights(resumed)
    for name, weight in trained_weights(undisturbed).items():
        assert torch.equal(found[name], weight), name


def test_only_the_missing_steps_are_done_again(make_trainer: MakeTrainer) -> None:
    with pytest.raises(Killed):
        train(make_trainer("killed"), killed_before_step=5)
    resumed = make_trainer("killed")
    done = []
    resumed.model.register_forward_hook(lambda *args: done.append(1) if resumed.model.training else None)
    go_on(resumed)
    # saved before the fifth of 9 steps at the latest
    assert len(done) == EPOCHS * STEPS - 5


def test_at_most_two_checkpoints_are_kept_and_none_holds_a_frozen_weight(
    make_trainer: MakeTrainer, tmp_path: Path
) -> None:
    with pytest.raises(Killed):
        train(make_trainer("killed"), killed_before_step=6)
    kept = sorted(path.name for path in (tmp_path / "killed" / STEP_CHECKPOINTS).iterdir())
    assert [int(name) for name in kept] == [5, 6]
    tensors = {path.name for path in (tmp_path / "killed" / STEP_CHECKPOINTS / kept[-1]).rglob("*.safetensors")}
    assert tensors == {"adapter_model.safetensors", "own_layers.safetensors"}


def test_without_a_number_of_steps_time_decides(
    make_trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A clock that goes two minutes a look: more than four minutes have passed at every third step."""
    minutes = iter(range(0, 10_000, 2))
    monkeypatch.setattr(step_checkpoints.time, "monotonic", lambda: next(minutes) * 60.0)
    trainer = make_trainer("slow", sft_save_steps=None)
    saved_after = []
    monkeypatch.setattr(
        resume.StepCheckpoints, "save", lambda self: (saved_after.append(trainer.steps_done), _saved(self))
    )
    train(trainer)
    assert saved_after == [3, 6]


def _saved(checkpoints: Any) -> None:
    checkpoints.clock.restart()
    checkpoints.saved_step = checkpoints.trainer.steps_done


def test_a_checkpoint_that_was_cut_off_is_passed_over(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        train(make_trainer("killed"), killed_before_step=4)
    (tmp_path / "killed" / STEP_CHECKPOINTS / "000000005.partial").mkdir()
    latest = latest_step_checkpoint(tmp_path / "killed")
    assert latest is not None
    assert latest.name == "000000004"


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"sft_learning_rate": 0.5}, "sft_learning_rate 0.01 -> 0.5"),
        ({"lora_alpha": 7}, "lora_"),
        ({"sft_loss": "kl"}, "sft_loss mse -> kl"),
    ],
)
def test_a_checkpoint_of_other_settings_is_refused(
    make_trainer: MakeTrainer, changed: dict[str, Any], named: str
) -> None:
    with pytest.raises(Killed):
        train(make_trainer("killed"), killed_before_step=2)
    with pytest.raises(ResumeError, match=named):
        go_on(make_trainer("killed", **changed))


def test_a_checkpoint_of_other_examples_is_refused(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        train(make_trainer("killed"), killed_before_step=2)
    trainer = make_trainer("killed")
    trainer.resume_checkpoint(str(latest_step_checkpoint(tmp_path / "killed")))
    train_data = trainer.task.train.in_epoch(0)
    fewer = replace(train_data, chosen=train_data.chosen[1:])
    with pytest.raises(ResumeError, match="training examples"):
        trainer.fit(fewer, trainer.task.valid, verbose=False)


def test_other_speed_settings_are_no_hindrance(make_trainer: MakeTrainer) -> None:
    without_dropout = {"lora_dropout": 0.0}
    undisturbed = make_trainer("undisturbed", **without_dropout)
    train(undisturbed)
    with pytest.raises(Killed):
        train(make_trainer("killed", **without_dropout), killed_before_step=4)
    resumed = make_trainer("killed", sft_tokens_per_batch=8, sft_layout="padded", sft_save_steps=2, **without_dropout)
    go_on(resumed)
    for name, weight in trained_weights(undisturbed).items():
        torch.testing.assert_close(trained_weights(resumed)[name], weight, rtol=0, atol=1e-4, msg=name)


def written_with_two_processes(folder: Path) -> None:
    progress = folder / STEP_CHECKPOINTS / "000000002" / "progress.json"
    progress.write_text(json.dumps({**json.loads(progress.read_text()), "processes": 2}))


def test_a_checkpoint_of_two_processes_is_gone_on_with_by_one(
    make_trainer: MakeTrainer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(Killed):
        train(make_trainer("killed"), killed_before_step=2)
    written_with_two_processes(tmp_path / "killed")
    trainer = make_trainer("killed")
    trainer.resume_checkpoint(str(tmp_path / "killed" / STEP_CHECKPOINTS / "000000002"))
    train(trainer)
    assert trainer.steps_done == EPOCHS * STEPS
    assert "000000002 was written with 2 processes, and 1 go on from it" in caplog.text


def test_pieces_of_another_number_of_processes_are_refused(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        train(make_trainer("killed"), killed_before_step=2)
    written_with_two_processes(tmp_path / "killed")
    trainer = make_trainer("killed")
    checkpoints = resume.StepCheckpoints(trainer, trainer.task.train.in_epoch(0).fingerprint)
    checkpoints.trainer = SimpleNamespace(accelerator=SimpleNamespace(distributed_type=DistributedType.FSDP))
    with pytest.raises(ResumeError, match="holds the pieces of 2 processes, and this run has 1; start 2, or delete it"):
        checkpoints.load(tmp_path / "killed" / STEP_CHECKPOINTS / "000000002")


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_text("{"), None])
def test_a_damaged_checkpoint_that_is_asked_for_is_named(
    make_trainer: MakeTrainer, tmp_path: Path, damage: Callable[[Path], Any] | None
) -> None:
    with pytest.raises(Killed):
        train(make_trainer("killed"), killed_before_step=2)
    progress = tmp_path / "killed" / STEP_CHECKPOINTS / "000000002" / "progress.json"
    if damage is None:
        progress.write_text(json.dumps({}))
    else:
        damage(progress)
    trainer = make_trainer("killed")
    trainer.resume_checkpoint(str(progress.parent))
    with pytest.raises(ResumeError, match=r"000000002 is no whole step checkpoint .* delete it to start anew"):
        train(trainer)


def flip(path: Path) -> None:
    """One bit of a file's middle."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("damaged", ["progress.json", "optimizer.bin", "own_layers.safetensors"])
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(
    make_trainer: MakeTrainer, tmp_path: Path, damaged: str, caplog: pytest.LogCaptureFixture
) -> None:
    undisturbed = make_trainer("undisturbed")
    train(undisturbed)
    with pytest.raises(Killed):
        train(make_trainer("killed"), killed_before_step=STEPS + 2)
    newest = tmp_path / "killed" / STEP_CHECKPOINTS / f"{STEPS + 2:09}"
    flip(newest / damaged)
    assert latest_step_checkpoint(tmp_path / "killed") == newest.with_name(f"{STEPS + 1:09}")
    assert f"{newest} differs from its hashes" in caplog.text
    resumed = make_trainer("killed")
    go_on(resumed)
    for name, weight in trained_weights(undisturbed).items():
        assert torch.equal(trained_weights(resumed)[name], weight), name


@pytest.mark.parametrize("damage", [shutil.rmtree, lambda folder: flip(folder / "own_layers.safetensors")])
def test_the_best_epoch_comes_back_with_the_step_checkpoint(
    make_trainer: MakeTrainer, tmp_path: Path, damage: Callable[[Path], Any]
) -> None:
    """Whatever has become of it since."""
    with pytest.raises(Killed):
        train(make_trainer("killed"), killed_before_step=STEPS + 1)
    best = tmp_path / "killed" / CHECKPOINT
    before = {path.name: path.read_bytes() for path in best.rglob("*.safetensors")}
    damage(best)
    resumed = make_trainer("killed")
    checkpoints = resume.StepCheckpoints(resumed, resumed.task.train.in_epoch(0).fingerprint)
    resumed._prepare(STEPS)
    latest = latest_step_checkpoint(tmp_path / "killed")
    assert latest is not None
    checkpoints.load(latest)
    assert {path.name: path.read_bytes() for path in best.rglob("*.safetensors")} == before


def test_saved_false_writes_no_checkpoint(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    fit(make_trainer("unsaved"), saved=False)
    assert not (tmp_path / "unsaved" / STEP_CHECKPOINTS).exists()
