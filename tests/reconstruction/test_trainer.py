"""The SFT trainer: RecBole's fit on users."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from peft import PeftModel
from safetensors.torch import load_file

from recbole_tslrec.reconstruction.histories import Histories, hold_out_users
from recbole_tslrec.reconstruction.network import ITEM_SEQ, ITEM_SEQ_LEN, PREFERENCE_TARGET, build_network
from recbole_tslrec.reconstruction.trainer import SFTTrainer, UserExamples
from recbole_tslrec.training import TrainingDiverged

ROWS = torch.randn(9, 4, generator=torch.Generator().manual_seed(0))
HISTORIES = Histories([f"u{i}" for i in range(12)], np.arange(36) % 8 + 1, np.arange(13) * 3)
TARGETS = torch.eye(4)[torch.arange(12) % 4]


@pytest.fixture
def make_trainer(make_config: Callable[..., Any], tmp_path: Path) -> Callable[..., SFTTrainer]:
    def make(**settings: Any) -> SFTTrainer:
        config = make_config(checkpoint_dir=str(tmp_path / "sft"), sft_learning_rate=0.01, **settings)
        return SFTTrainer(config, build_network(config, ROWS))

    return make


def loaders(seed: int = 0) -> tuple[Any, Any]:
    examples = UserExamples(HISTORIES, TARGETS, max_items=2)
    train, valid = hold_out_users(12, 0.25, seed)
    return examples.loader(train, 4, seed), examples.loader(valid, 4)


def test_an_example_is_the_most_recent_items_and_the_target() -> None:
    interaction = UserExamples(HISTORIES, TARGETS, max_items=2).collate([1])
    assert interaction[ITEM_SEQ].tolist() == [[5, 6]]  # user 1 has 4, 5, 6
    assert interaction[ITEM_SEQ_LEN].tolist() == [2]
    assert interaction[PREFERENCE_TARGET].tolist() == [[0, 1, 0, 0]]


def test_held_out_users_are_disjoint_and_neither_part_is_empty() -> None:
    train, valid = hold_out_users(1000, 0.05, seed=3)
    assert len(valid) == 50
    assert sorted([*train, *valid]) == list(range(1000))
    assert [len(part) for part in hold_out_users(2, 0.05, seed=0)] == [1, 1]


@pytest.mark.parametrize(("users", "ratio"), [(1, 0.5), (10, 0.0), (10, 1.0)])
def test_users_that_cannot_be_split_are_refused(users: int, ratio: float) -> None:
    with pytest.raises(ValueError, match="--sft_valid_ratio"):
        hold_out_users(users, ratio, seed=0)


def test_fit_lowers_the_training_loss_and_returns_the_best_validation(make_trainer: Callable[..., SFTTrainer]) -> None:
    trainer = make_trainer(sft_epochs=8, sft_stopping_step=8)
    best, result = trainer.fit(*loaders(), verbose=False)
    losses = list(trainer.train_loss_dict.values())
    assert losses[-1] < losses[0]
    assert best == result["loss"] == trainer.best_valid_score


def test_the_best_epoch_is_kept(make_trainer: Callable[..., SFTTrainer], monkeypatch: pytest.MonkeyPatch) -> None:
    """Validation losses 3, 1, 2: the checkpoint on disk is that of epoch 1."""
    trainer = make_trainer(sft_epochs=3, sft_stopping_step=5)
    scripted, heads = iter([3.0, 1.0, 2.0]), []

    def validate(*args: Any, **kwargs: Any) -> tuple[float, dict[str, float]]:
        heads.append(trainer.model.head.weight.detach().clone())
        loss = next(scripted)
        return loss, {"loss": loss}

    monkeypatch.setattr(trainer, "_valid_epoch", validate)
    trainer.fit(*loaders(), verbose=False)
    saved = load_file(str(Path(trainer.saved_model_file) / "projection_and_head.safetensors"))
    assert torch.equal(saved["head.weight"], heads[1])
    assert not torch.equal(saved["head.weight"], heads[2])


def test_training_stops_when_validation_no_longer_improves(
    make_trainer: Callable[..., SFTTrainer], monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make_trainer(sft_epochs=20, sft_stopping_step=2)
    losses = iter([1.0, *[2.0] * 19])
    monkeypatch.setattr(trainer, "_valid_epoch", lambda *a, **k: ((loss := next(losses)), {"loss": loss}))
    trainer.fit(*loaders(), verbose=False)
    assert len(trainer.train_loss_dict) == 4  # the best, and one more than two without improvement, as RecBole counts


def test_saved_false_writes_nothing(make_trainer: Callable[..., SFTTrainer]) -> None:
    trainer = make_trainer()
    trainer.fit(*loaders(), verbose=False, saved=False)
    assert not Path(trainer.saved_model_file).exists()


def test_evaluate_loads_the_best_checkpoint(make_trainer: Callable[..., SFTTrainer]) -> None:
    trainer = make_trainer(sft_epochs=2)
    best, _ = trainer.fit(*loaders(), verbose=False)
    torch.nn.init.zeros_(trainer.model.head.weight)
    assert trainer.evaluate(loaders()[1])["loss"] == pytest.approx(best)


def test_evaluate_by_hand(make_trainer: Callable[..., SFTTrainer]) -> None:
    """A head of zeros predicts 1/4 everywhere: squared error 3/16 + 9/16 against a one-hot target."""
    trainer = make_trainer()
    torch.nn.init.zeros_(trainer.model.head.weight)
    torch.nn.init.zeros_(trainer.model.head.bias)
    assert trainer.evaluate(loaders()[1], load_best_model=False)["loss"] == pytest.approx(0.75)


def test_checkpoint_loads_with_plain_peft_and_holds_no_frozen_weight(
    make_trainer: Callable[..., SFTTrainer], llama_folder: Path
) -> None:
    trainer = make_trainer(llm_name_or_path=str(llama_folder), lora_rank=2)
    trainer.fit(*loaders(), verbose=False)
    checkpoint = Path(trainer.saved_model_file)
    saved = {path.relative_to(checkpoint).as_posix() for path in checkpoint.rglob("*.safetensors")}
    assert saved == {"adapter/adapter_model.safetensors", "projection_and_head.safetensors"}
    assert all("lora_" in name for name in load_file(str(checkpoint / "adapter" / "adapter_model.safetensors")))

    plain = PeftModel.from_pretrained(transformers.AutoModel.from_pretrained(llama_folder), str(checkpoint / "adapter"))
    prompt = torch.randn(1, 5, 16, generator=torch.Generator().manual_seed(0))
    ours = trainer.model.encoder.llm(inputs_embeds=prompt).last_hidden_state
    torch.testing.assert_close(plain(inputs_embeds=prompt).last_hidden_state, ours)


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_checkpoint(
    make_trainer: Callable[..., SFTTrainer],
) -> None:
    """3 steps an epoch: epoch 0 is good, the second step of epoch 1 is not."""
    trainer = make_trainer(sft_epochs=5)
    calculate_loss, steps = trainer.model.calculate_loss, []

    def diverging(interaction: Any) -> torch.Tensor:
        steps.append(1)
        loss: torch.Tensor = calculate_loss(interaction)
        return loss * float("nan") if len(steps) == 5 else loss

    trainer.model.calculate_loss = diverging  # type: ignore[method-assign]
    with pytest.raises(TrainingDiverged, match=r"nan at step 5, learning rate 0\.01"):
        trainer.fit(*loaders(), verbose=False)
    saved = load_file(str(Path(trainer.saved_model_file) / "projection_and_head.safetensors"))
    assert all(torch.isfinite(weight).all() for weight in saved.values())


def test_two_runs_with_the_same_seed_are_bit_equal(make_trainer: Callable[..., SFTTrainer]) -> None:
    results = [make_trainer(sft_epochs=2).fit(*loaders(), verbose=False, saved=False) for _ in range(2)]
    assert results[0] == results[1]


def test_losses_go_to_tensorboard(make_trainer: Callable[..., SFTTrainer]) -> None:
    trainer = make_trainer()
    trainer.fit(*loaders(), verbose=False, saved=False)
    trainer.tensorboard.flush()
    assert list(Path("log_tensorboard").glob("*/sft/events.out.tfevents.*"))
