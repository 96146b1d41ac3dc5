"""The SFT trainer: RecBole's fit on users."""

import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from peft import PeftModel
from safetensors.torch import load_file

from recbole_tslrec.sft.batching import MicroBatch
from recbole_tslrec.reconstruction.examples import UserExamples
from recbole_tslrec.data.histories import Histories, hold_out_users
from recbole_tslrec.reconstruction.network import ITEM_SEQ, ITEM_SEQ_LEN, PREFERENCE_TARGET, build_network
from recbole_tslrec.sft.trainer import SFTTrainer
from recbole_tslrec.compute.divergence import TrainingDiverged
from tests.decoders import plain_attention

ROWS = torch.randn(9, 4, generator=torch.Generator().manual_seed(0))
HISTORIES = Histories([f"u{i}" for i in range(12)], np.arange(36) % 8 + 1, np.arange(13) * 3)
UNEVEN = Histories([f"u{i}" for i in range(12)], np.arange(42) % 8 + 1, np.cumsum([0, *range(1, 7), *range(1, 7)]))
TARGETS = torch.eye(4)[torch.arange(12) % 4]


@pytest.fixture
def make_trainer(make_config: Callable[..., Any], tmp_path: Path) -> Callable[..., SFTTrainer]:
    """``make_trainer(**settings)``; the prompt is BOS, "4", the items, "R": three tokens beside the items."""

    def make(**settings: Any) -> SFTTrainer:
        small = {"prompt_instruction": "{group_count}", "prompt_response": "R", "sft_learning_rate": 0.01}
        config = make_config(checkpoint_dir=str(tmp_path / "sft"), **{**small, **settings})
        return SFTTrainer(config, build_network(config, ROWS))

    return make


def examples(seed: int = 0, histories: Histories = HISTORIES, max_items: int = 2) -> tuple[UserExamples, UserExamples]:
    """Nine users to train on, so three steps an epoch, and three to validate on."""
    train, valid = (
        UserExamples(histories, TARGETS, max_items, users, batch_size=4, seed=seed)
        for users in hold_out_users(12, 0.25, seed)
    )
    return train, valid


def trained_weights(trainer: SFTTrainer) -> dict[str, torch.Tensor]:
    return {name: weight.detach().clone() for name, weight in trainer.model.trainable().items()}


def in_training(trainer: SFTTrainer, watch: Callable[[MicroBatch], None]) -> None:
    """Have ``watch`` see every micro-batch of training before the LLM does."""
    errors = trainer._errors

    def watched(data: UserExamples, micro_batch: MicroBatch) -> tuple[torch.Tensor, torch.Tensor]:
        if trainer.prepared.training:
            watch(micro_batch)
        return errors(data, micro_batch)

    trainer._errors = watched  # type: ignore[method-assign]


def test_an_example_is_the_most_recent_items_and_the_target() -> None:
    interaction = examples()[0].interaction(np.array([1]))
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
    best, result = trainer.fit(*examples(), verbose=False)
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
    trainer.fit(*examples(), verbose=False)
    saved = load_file(str(Path(trainer.saved_model_file) / "projection_and_head.safetensors"))
    assert torch.equal(saved["head.weight"], heads[1])
    assert not torch.equal(saved["head.weight"], heads[2])


def test_training_stops_when_validation_no_longer_improves(
    make_trainer: Callable[..., SFTTrainer], monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make_trainer(sft_epochs=20, sft_stopping_step=2)
    losses = iter([1.0, *[2.0] * 19])
    monkeypatch.setattr(trainer, "_valid_epoch", lambda *a, **k: ((loss := next(losses)), {"loss": loss}))
    trainer.fit(*examples(), verbose=False)
    assert len(trainer.train_loss_dict) == 4  # the best, and one more than two without improvement, as RecBole counts


def test_saved_false_writes_nothing(make_trainer: Callable[..., SFTTrainer]) -> None:
    trainer = make_trainer()
    trainer.fit(*examples(), verbose=False, saved=False)
    assert not Path(trainer.saved_model_file).exists()


def test_evaluate_loads_the_best_checkpoint(make_trainer: Callable[..., SFTTrainer]) -> None:
    trainer = make_trainer(sft_epochs=2)
    best, _ = trainer.fit(*examples(), verbose=False)
    torch.nn.init.zeros_(trainer.model.head.weight)
    assert trainer.evaluate(examples()[1])["loss"] == pytest.approx(best)


@pytest.mark.parametrize(("loss", "expected"), [("mse", 3 / 16 + 9 / 16), ("kl", math.log(4))])
def test_evaluate_by_hand(make_trainer: Callable[..., SFTTrainer], loss: str, expected: float) -> None:
    """A head of zeros predicts 1/4 everywhere, against a one-hot target."""
    trainer = make_trainer(sft_loss=loss)
    torch.nn.init.zeros_(trainer.model.head.weight)
    torch.nn.init.zeros_(trainer.model.head.bias)
    assert trainer.evaluate(examples()[1], load_best_model=False)["loss"] == pytest.approx(expected)


def test_checkpoint_loads_with_plain_peft_and_holds_no_frozen_weight(
    make_trainer: Callable[..., SFTTrainer], llama_folder: Path
) -> None:
    trainer = make_trainer(llm_name_or_path=str(llama_folder), lora_rank=2)
    trainer.fit(*examples(), verbose=False)
    checkpoint = Path(trainer.saved_model_file)
    saved = {path.relative_to(checkpoint).as_posix() for path in checkpoint.rglob("*.safetensors")}
    assert saved == {"adapter/adapter_model.safetensors", "projection_and_head.safetensors"}
    assert all("lora_" in name for name in load_file(str(checkpoint / "adapter" / "adapter_model.safetensors")))

    plain = PeftModel.from_pretrained(transformers.AutoModel.from_pretrained(llama_folder), str(checkpoint / "adapter"))
    prompt = torch.randn(1, 5, 16, generator=torch.Generator().manual_seed(0))
    with plain_attention(trainer.model.encoder.llm) as llm:
        ours = llm(inputs_embeds=prompt).last_hidden_state
    torch.testing.assert_close(plain(inputs_embeds=prompt).last_hidden_state, ours)


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_checkpoint(
    make_trainer: Callable[..., SFTTrainer],
) -> None:
    """3 steps an epoch: epoch 0 is good, the second step of epoch 1 is not."""
    trainer = make_trainer(sft_epochs=5)
    errors, steps = trainer._errors, []

    def diverging(data: UserExamples, micro_batch: MicroBatch) -> tuple[torch.Tensor, torch.Tensor]:
        loss, top1 = errors(data, micro_batch)
        if trainer.prepared.training:
            steps.append(1)
        return (loss * float("nan") if len(steps) == 5 else loss), top1

    trainer._errors = diverging  # type: ignore[method-assign]
    with pytest.raises(TrainingDiverged, match=r"nan at step 5, learning rate 0\.01"):
        trainer.fit(*examples(), verbose=False)
    saved = load_file(str(Path(trainer.saved_model_file) / "projection_and_head.safetensors"))
    assert all(torch.isfinite(weight).all() for weight in saved.values())


def test_two_runs_with_the_same_seed_are_bit_equal(make_trainer: Callable[..., SFTTrainer]) -> None:
    results = [make_trainer(sft_epochs=2).fit(*examples(), verbose=False, saved=False) for _ in range(2)]
    assert results[0] == results[1]


def test_losses_go_to_tensorboard(make_trainer: Callable[..., SFTTrainer]) -> None:
    trainer = make_trainer()
    trainer.fit(*examples(), verbose=False, saved=False)
    trainer.tensorboard.flush()
    assert list(Path("log_tensorboard").glob("*/sft/events.out.tfevents.*"))


# micro-batches


def test_pads_lie_behind_the_items_of_shorter_histories() -> None:
    interaction = examples(histories=UNEVEN, max_items=3)[0].interaction(np.array([1, 0, 3]))
    assert interaction[ITEM_SEQ].tolist() == [[2, 3, 0], [1, 0, 0], [8, 1, 2]]  # of 2 3, of 1, of 7 8 1 2
    assert interaction[ITEM_SEQ_LEN].tolist() == [2, 1, 3]
    assert interaction[PREFERENCE_TARGET].argmax(dim=1).tolist() == [1, 0, 3]


@pytest.mark.parametrize("layout", ["prefix_row", "padded"])
def test_weights_do_not_depend_on_the_budget_of_a_micro_batch(
    make_trainer: Callable[..., SFTTrainer], layout: str
) -> None:
    """One user at a time, and whole steps."""
    found, sizes = [], []
    for tokens in (1, 10_000):
        trainer = make_trainer(sft_epochs=2, sft_learning_rate=0.001, sft_tokens_per_batch=tokens, sft_layout=layout)
        micro_batches: list[int] = []
        in_training(trainer, lambda micro_batch, seen=micro_batches: seen.append(len(micro_batch.users)))  # type: ignore[misc]
        trainer.fit(*examples(histories=UNEVEN, max_items=6), verbose=False, saved=False)
        found.append(trained_weights(trainer))
        sizes.append(sorted(micro_batches))
    assert sizes == [[1] * 18, [1, 1, 4, 4, 4, 4]]
    for name, weight in found[1].items():
        torch.testing.assert_close(found[0][name], weight, rtol=0, atol=1e-6, msg=name)


def test_losses_do_not_depend_on_the_layout(make_trainer: Callable[..., SFTTrainer]) -> None:
    losses = []
    for layout in ("prefix_row", "padded"):
        trainer = make_trainer(sft_epochs=3, sft_layout=layout)
        assert trainer.budget.layout == layout
        _, result = trainer.fit(*examples(histories=UNEVEN, max_items=6), verbose=False, saved=False)
        assert result is not None
        losses.append([*trainer.train_loss_dict.values(), result["loss"]])
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


def test_the_loss_of_an_epoch_is_the_mean_over_its_users(make_trainer: Callable[..., SFTTrainer]) -> None:
    """Steps of 4, 4 and 1 users, a network that never changes: what evaluating the training users gives."""
    trainer = make_trainer(sft_learning_rate=0.0)
    train, valid = examples(histories=UNEVEN, max_items=6)
    trainer.fit(train, valid, verbose=False, saved=False)
    expected = trainer.evaluate(train, load_best_model=False)["loss"]
    assert trainer.train_loss_dict[0] == pytest.approx(expected, abs=1e-6)


def test_evaluation_does_not_depend_on_the_budget(make_trainer: Callable[..., SFTTrainer]) -> None:
    trainer = make_trainer()
    _, valid = examples(histories=UNEVEN, max_items=6)
    whole = trainer.evaluate(valid, load_best_model=False)
    trainer.tokens_per_batch = 1
    assert trainer.evaluate(valid, load_best_model=False) == pytest.approx(whole, abs=1e-6)


# out of memory


class Memory:
    """Runs out when a micro-batch has more than ``most_users``, or at its ``failing``-th micro-batch."""

    def __init__(self, most_users: int = 99, failing: int | None = None) -> None:
        self.most_users, self.failing = most_users, failing
        self.micro_batches = 0

    def __call__(self, micro_batch: MicroBatch) -> None:
        self.micro_batches += 1
        if len(micro_batch.users) > self.most_users or self.micro_batches == self.failing:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 MiB.")


@pytest.mark.parametrize(
    ("tokens", "memory", "left"),
    [
        (20, Memory(most_users=2), 10),  # four prompts of five tokens, then two
        (5, Memory(failing=7), 2),  # a prompt each; amid a step, whatever the order of the steps of 4, 4 and 1
    ],
    ids=["always too large", "amid a step"],
)
def test_out_of_memory_halves_the_budget_and_ends_with_the_same_weights(
    make_trainer: Callable[..., SFTTrainer], caplog: pytest.LogCaptureFixture, tokens: int, memory: Memory, left: int
) -> None:
    settings = {"sft_learning_rate": 0.001, "sft_tokens_per_batch": tokens, "sft_layout": "padded"}
    undisturbed, disturbed = (make_trainer(**settings) for _ in range(2))
    undisturbed.fit(*examples(), verbose=False, saved=False)
    in_training(disturbed, memory)
    with caplog.at_level(logging.WARNING):
        disturbed.fit(*examples(), verbose=False, saved=False)
    assert f"out of memory: going on with micro-batches of {left} tokens" in caplog.text
    assert disturbed.tokens_per_batch == left
    assert disturbed.steps_done == undisturbed.steps_done == 3
    assert disturbed.train_loss_dict[0] == pytest.approx(undisturbed.train_loss_dict[0], abs=1e-6)
    for name, weight in trained_weights(undisturbed).items():
        torch.testing.assert_close(trained_weights(disturbed)[name], weight, rtol=0, atol=1e-6, msg=name)


def test_a_user_too_large_for_the_memory_is_an_error_that_names_the_key(
    make_trainer: Callable[..., SFTTrainer],
) -> None:
    trainer = make_trainer(sft_tokens_per_batch=8)
    memory = Memory(most_users=0)
    in_training(trainer, memory)
    with pytest.raises(MemoryError, match=r"micro-batches of 1 tokens.*--sft_tokens_per_batch=1 .*smaller LLM"):
        trainer.fit(*examples(), verbose=False, saved=False)
    assert memory.micro_batches == 4  # with 8, 4, 2 and 1 tokens


def test_another_error_is_not_taken_for_want_of_memory(make_trainer: Callable[..., SFTTrainer]) -> None:
    trainer = make_trainer()

    def fail(micro_batch: MicroBatch) -> None:
        raise RuntimeError("something else")

    in_training(trainer, fail)
    with pytest.raises(RuntimeError, match="something else"):
        trainer.fit(*examples(), verbose=False, saved=False)


# the learning rate


def test_learning_rate_rises_then_falls_as_a_cosine(make_trainer: Callable[..., SFTTrainer]) -> None:
    """Four epochs of three steps, a quarter of them warm-up: 0, 1/3, 2/3, then half a cosine over nine steps."""
    trainer = make_trainer(sft_epochs=4, sft_stopping_step=9, sft_warmup_ratio=0.25, sft_tokens_per_batch=1)
    step, rates = trainer._train_step, []

    def train_step(*arguments: Any) -> None:
        rates.append(trainer.schedule.get_last_lr()[0])
        step(*arguments)

    trainer._train_step = train_step  # type: ignore[method-assign]
    trainer.fit(*examples(), verbose=False, saved=False)
    falling = [0.5 * (1 + math.cos(math.pi * step / 9)) for step in range(9)]
    assert rates == pytest.approx([0.01 * share for share in (0, 1 / 3, 2 / 3, *falling)])
    assert trainer.schedule.get_last_lr() == pytest.approx([0])


def test_gradients_are_clipped_by_the_norm_of_a_whole_step(make_trainer: Callable[..., SFTTrainer]) -> None:
    """Though a step has several micro-batches, it is clipped once, before its update."""
    trainer = make_trainer(sft_tokens_per_batch=1, sft_clip_grad_norm=1e-3)
    norms = []

    def measure(*arguments: Any) -> None:
        gradients = [weight.grad for weight in trainer.model.trainable().values() if weight.grad is not None]
        norms.append(float(torch.stack([gradient.norm() for gradient in gradients]).norm()))

    trainer.optimizer.register_step_pre_hook(measure)
    trainer.fit(*examples(), verbose=False, saved=False)
    assert norms == pytest.approx([1e-3] * 3, rel=1e-3)
