"""The SFT trainer: RecBole's fit on the examples of a task."""

import logging
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from peft import PeftModel
from safetensors.torch import load_file

import recbole_tslrec.sft.trainer as sft_trainer
from recbole_tslrec.compute.divergence import TrainingDiverged
from recbole_tslrec.data.histories import Histories
from recbole_tslrec.sft.batching import MicroBatch
from recbole_tslrec.sft.examples import Examples
from recbole_tslrec.sft.trainer import SFTTrainer
from tests.decoders import plain_attention
from tests.sft.tasks import HISTORIES, RECONSTRUCTION, UNEVEN, fit, reconstruction, trained_weights, trainer_of

MakeTrainer = Callable[..., SFTTrainer]


@pytest.fixture
def make_trainer(make_config: Callable[..., Any], tmp_path: Path) -> MakeTrainer:
    """``make_trainer(histories, **settings)``: of the paper's task, nine users to train on, so three steps an epoch.

    The prompt is BOS, "4", the items, "R": three tokens beside the items.
    """

    def make(histories: Histories = HISTORIES, **settings: Any) -> SFTTrainer:
        words = {"prompt_instruction": "{group_count}", "prompt_response": "R"}
        config = make_config(**{**RECONSTRUCTION, **words, "sft_learning_rate": 0.01, **settings})
        return trainer_of(config, reconstruction(config, histories), tmp_path / "sft")

    return make


def in_training(trainer: SFTTrainer, watch: Callable[[MicroBatch], None]) -> None:
    """Have ``watch`` see every micro-batch of training before the LLM does."""
    errors = trainer._errors

    def watched(data: Examples, micro_batch: MicroBatch) -> Any:
        if trainer.prepared.training:
            watch(micro_batch)
        return errors(data, micro_batch)

    trainer._errors = watched  # type: ignore[method-assign]


@pytest.mark.parametrize(
    ("schedule", "share"),
    [
        ("cosine", lambda done: (1 + math.cos(math.pi * done)) / 2),
        ("linear", lambda done: 1 - done),
        ("constant", lambda done: 1),
    ],
)
def test_the_learning_rate_falls_as_the_schedule_says(
    make_trainer: MakeTrainer, schedule: str, share: Callable[[float], float]
) -> None:
    """Six steps, none of them to warm up."""
    trainer = make_trainer(sft_epochs=2, sft_stopping_step=2, sft_warmup_ratio=0.0, sft_schedule=schedule)
    rates = []
    in_training(trainer, lambda micro_batch: rates.append(trainer.schedule.get_last_lr()[0]))
    fit(trainer)
    assert rates == pytest.approx([0.01 * share(step / 6) for step in range(6)])


def test_no_norm_clips_no_gradient(make_trainer: MakeTrainer) -> None:
    """With so small a norm AdamW's epsilon would keep the weights where they were."""
    moved = []
    for norm in (1e-20, None):
        trainer = make_trainer(sft_epochs=1, sft_clip_grad_norm=norm)
        before = trained_weights(trainer)
        fit(trainer)
        moved.append(max(float((after - before[name]).abs().max()) for name, after in trained_weights(trainer).items()))
    assert moved[0] < 1e-6
    assert moved[1] > 1e-3


def test_fit_lowers_the_training_loss_and_returns_the_best_validation(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(sft_epochs=8, sft_stopping_step=8)
    best, result = fit(trainer)
    losses = list(trainer.train_loss_dict.values())
    assert losses[-1] < losses[0]
    assert best == result["loss"] == trainer.best_valid_score


def test_the_best_epoch_is_kept(make_trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Validation losses 3, 1, 2: the checkpoint on disk is that of epoch 1."""
    trainer = make_trainer(sft_epochs=3, sft_stopping_step=5)
    scripted, heads = iter([3.0, 1.0, 2.0]), []

    def validate(*args: Any, **kwargs: Any) -> tuple[float, dict[str, float]]:
        heads.append(trainer.model.head.weight.detach().clone())
        loss = next(scripted)
        return loss, {"loss": loss}

    monkeypatch.setattr(trainer, "_valid_epoch", validate)
    fit(trainer)
    saved = load_file(str(Path(trainer.saved_model_file) / "own_layers.safetensors"))
    assert torch.equal(saved["head.weight"], heads[1])
    assert not torch.equal(saved["head.weight"], heads[2])


def test_training_stops_when_validation_no_longer_improves(
    make_trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make_trainer(sft_epochs=20, sft_stopping_step=2)
    losses = iter([1.0, *[2.0] * 19])
    monkeypatch.setattr(trainer, "_valid_epoch", lambda *a, **k: ((loss := next(losses)), {"loss": loss}))
    fit(trainer)
    assert len(trainer.train_loss_dict) == 4  # the best, and one more than two without improvement, as RecBole counts


def test_saved_false_writes_nothing(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer()
    fit(trainer, saved=False)
    assert not Path(trainer.saved_model_file).exists()


def test_evaluate_loads_the_best_checkpoint(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(sft_epochs=2)
    best, _ = fit(trainer)
    torch.nn.init.zeros_(trainer.model.head.weight)
    assert trainer.evaluate(trainer.task.valid)["loss"] == pytest.approx(best)


@pytest.mark.parametrize(("loss", "expected"), [("mse", 3 / 16 + 9 / 16), ("kl", math.log(4))])
def test_evaluate_by_hand(make_trainer: MakeTrainer, loss: str, expected: float) -> None:
    """A head of zeros predicts 1/4 everywhere, against a one-hot target."""
    trainer = make_trainer(sft_loss=loss)
    torch.nn.init.zeros_(trainer.model.head.weight)
    torch.nn.init.zeros_(trainer.model.head.bias)
    assert trainer.evaluate(trainer.task.valid, load_best_model=False)["loss"] == pytest.approx(expected)


def test_checkpoint_loads_with_plain_peft_and_holds_no_frozen_weight(
    make_trainer: MakeTrainer, llama_folder: Path
) -> None:
    trainer = make_trainer(llm_name_or_path=str(llama_folder), lora_rank=2)
    fit(trainer)
    checkpoint = Path(trainer.saved_model_file)
    saved = {path.relative_to(checkpoint).as_posix() for path in checkpoint.rglob("*.safetensors")}
    assert saved == {"adapter/adapter_model.safetensors", "own_layers.safetensors"}
    assert all("lora_" in name for name in load_file(str(checkpoint / "adapter" / "adapter_model.safetensors")))

    plain = PeftModel.from_pretrained(transformers.AutoModel.from_pretrained(llama_folder), str(checkpoint / "adapter"))
    prompt = torch.randn(1, 5, 16, generator=torch.Generator().manual_seed(0))
    with plain_attention(trainer.model.encoder.llm) as llm:
        ours = llm(inputs_embeds=prompt).last_hidden_state
    torch.testing.assert_close(plain(inputs_embeds=prompt).last_hidden_state, ours)


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_checkpoint(
    make_trainer: MakeTrainer,
) -> None:
    """3 steps an epoch: epoch 0 is good, the second step of epoch 1 is not."""
    trainer = make_trainer(sft_epochs=5)
    errors, steps = trainer._errors, []

    def diverging(data: Examples, micro_batch: MicroBatch) -> Any:
        loss, metrics = errors(data, micro_batch)
        if trainer.prepared.training:
            steps.append(1)
        return (loss * float("nan") if len(steps) == 5 else loss), metrics

    trainer._errors = diverging  # type: ignore[method-assign]
    with pytest.raises(TrainingDiverged, match=r"nan at step 5, learning rate 0\.01"):
        fit(trainer)
    saved = load_file(str(Path(trainer.saved_model_file) / "own_layers.safetensors"))
    assert all(torch.isfinite(weight).all() for weight in saved.values())


def test_two_runs_with_the_same_seed_are_bit_equal(make_trainer: MakeTrainer) -> None:
    results = [fit(make_trainer(sft_epochs=2), saved=False) for _ in range(2)]
    assert results[0] == results[1]


def test_a_long_epoch_says_where_it_is(
    make_trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Three steps: the tenths are passed with each of them, and the last is the epoch's end."""
    monkeypatch.setattr(sft_trainer, "_LONG", 3)
    with caplog.at_level(logging.INFO):
        fit(make_trainer(sft_epochs=1), saved=False)
    assert re.findall(r"epoch \d+: \d of \d steps", caplog.text) == ["epoch 0: 1 of 3 steps", "epoch 0: 2 of 3 steps"]


def test_losses_go_to_tensorboard(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer()
    fit(trainer, saved=False)
    trainer.tensorboard.flush()
    assert list(Path("log_tensorboard").glob("*/sft/events.out.tfevents.*"))


# micro-batches


@pytest.mark.parametrize("layout", ["prefix_row", "padded"])
def test_weights_do_not_depend_on_the_budget_of_a_micro_batch(make_trainer: MakeTrainer, layout: str) -> None:
    """One user at a time, and whole steps."""
    found, sizes = [], []
    for tokens in (1, 10_000):
        settings = {"sft_learning_rate": 0.001, "sft_tokens_per_batch": tokens, "sft_layout": layout}
        trainer = make_trainer(UNEVEN, prompt_max_items=6, sft_epochs=2, **settings)
        micro_batches: list[int] = []
        in_training(trainer, lambda micro_batch, seen=micro_batches: seen.append(len(micro_batch.examples)))  # type: ignore[misc]
        fit(trainer, saved=False)
        found.append(trained_weights(trainer))
        sizes.append(sorted(micro_batches))
    assert sizes == [[1] * 18, [1, 1, 4, 4, 4, 4]]
    for name, weight in found[1].items():
        torch.testing.assert_close(found[0][name], weight, rtol=0, atol=1e-6, msg=name)


def test_losses_do_not_depend_on_the_layout(make_trainer: MakeTrainer) -> None:
    losses = []
    for layout in ("prefix_row", "padded"):
        trainer = make_trainer(UNEVEN, prompt_max_items=6, sft_epochs=3, sft_layout=layout)
        assert trainer.budget.layout == layout
        _, result = fit(trainer, saved=False)
        assert result is not None
        losses.append([*trainer.train_loss_dict.values(), result["loss"]])
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


def test_the_loss_of_an_epoch_is_the_mean_over_its_users(make_trainer: MakeTrainer) -> None:
    """Steps of 4, 4 and 1 users, a network that never changes: what evaluating the training users gives."""
    trainer = make_trainer(UNEVEN, prompt_max_items=6, sft_learning_rate=0.0)
    fit(trainer, saved=False)
    expected = trainer.evaluate(trainer.task.train.in_epoch(0), load_best_model=False)["loss"]
    assert trainer.train_loss_dict[0] == pytest.approx(expected, abs=1e-6)


def test_evaluation_does_not_depend_on_the_budget(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(UNEVEN, prompt_max_items=6)
    whole = trainer.evaluate(trainer.task.valid, load_best_model=False)
    trainer.tokens_per_batch = 1
    assert trainer.evaluate(trainer.task.valid, load_best_model=False) == pytest.approx(whole, abs=1e-6)


# out of memory


class Memory:
    """Runs out when a micro-batch has more than ``most_users``, or at its ``failing``-th micro-batch."""

    def __init__(self, most_users: int = 99, failing: int | None = None) -> None:
        self.most_users, self.failing = most_users, failing
        self.micro_batches = 0

    def __call__(self, micro_batch: MicroBatch) -> None:
        self.micro_batches += 1
        if len(micro_batch.examples) > self.most_users or self.micro_batches == self.failing:
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
    make_trainer: MakeTrainer, caplog: pytest.LogCaptureFixture, tokens: int, memory: Memory, left: int
) -> None:
    settings = {"sft_learning_rate": 0.001, "sft_tokens_per_batch": tokens, "sft_layout": "padded"}
    undisturbed, disturbed = (make_trainer(**settings) for _ in range(2))
    fit(undisturbed, saved=False)
    in_training(disturbed, memory)
    with caplog.at_level(logging.WARNING):
        fit(disturbed, saved=False)
    assert f"out of memory: going on with micro-batches of {left} tokens" in caplog.text
    assert disturbed.tokens_per_batch == left
    assert disturbed.steps_done == undisturbed.steps_done == 3
    assert disturbed.train_loss_dict[0] == pytest.approx(undisturbed.train_loss_dict[0], abs=1e-6)
    for name, weight in trained_weights(undisturbed).items():
        torch.testing.assert_close(trained_weights(disturbed)[name], weight, rtol=0, atol=1e-6, msg=name)


def test_a_user_too_large_for_the_memory_is_an_error_that_names_the_key(
    make_trainer: MakeTrainer,
) -> None:
    trainer = make_trainer(sft_tokens_per_batch=8)
    memory = Memory(most_users=0)
    in_training(trainer, memory)
    with pytest.raises(MemoryError, match=r"micro-batches of 1 tokens.*--sft_tokens_per_batch=1 .*smaller LLM"):
        fit(trainer, saved=False)
    assert memory.micro_batches == 4  # with 8, 4, 2 and 1 tokens


def test_another_error_is_not_taken_for_want_of_memory(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer()

    def fail(micro_batch: MicroBatch) -> None:
        raise RuntimeError("something else")

    in_training(trainer, fail)
    with pytest.raises(RuntimeError, match="something else"):
        fit(trainer, saved=False)


# the learning rate


def test_learning_rate_rises_then_falls_as_a_cosine(make_trainer: MakeTrainer) -> None:
    """Four epochs of three steps, a quarter of them warm-up: 0, 1/3, 2/3, then half a cosine over nine steps."""
    trainer = make_trainer(sft_epochs=4, sft_stopping_step=9, sft_warmup_ratio=0.25, sft_tokens_per_batch=1)
    step, rates = trainer._train_step, []

    def train_step(*arguments: Any) -> None:
        rates.append(trainer.schedule.get_last_lr()[0])
        step(*arguments)

    trainer._train_step = train_step  # type: ignore[method-assign]
    fit(trainer, saved=False)
    falling = [0.5 * (1 + math.cos(math.pi * step / 9)) for step in range(9)]
    assert rates == pytest.approx([0.01 * share for share in (0, 1 / 3, 2 / 3, *falling)])
    assert trainer.schedule.get_last_lr() == pytest.approx([0])


def test_gradients_are_clipped_by_the_norm_of_a_whole_step(make_trainer: MakeTrainer) -> None:
    """Though a step has several micro-batches, it is clipped once, before its update."""
    trainer = make_trainer(sft_tokens_per_batch=1, sft_clip_grad_norm=1e-3)
    norms = []

    def measure(*arguments: Any) -> None:
        gradients = [weight.grad for weight in trainer.model.trainable().values() if weight.grad is not None]
        norms.append(float(torch.stack([gradient.norm() for gradient in gradients]).norm()))

    trainer.optimizer.register_step_pre_hook(measure)
    fit(trainer, saved=False)
    assert norms == pytest.approx([1e-3] * 3, rel=1e-3)
