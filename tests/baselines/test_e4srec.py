"""E4SRec on the package's engine: which prompts predict which items, and what is learned."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recbole_tslrec.baselines import e4srec
from recbole_tslrec.baselines.e4srec import (
    INSTRUCTION,
    RESPONSE,
    MiddlePadded,
    NextItemObjective,
    interaction_examples,
)
from recbole_tslrec.data.histories import Histories
from recbole_tslrec.llm.prompt import Prompt
from recbole_tslrec.sft.checkpoint import CHECKPOINT, load_trained_weights
from recbole_tslrec.sft.examples import Examples
from recbole_tslrec.sft.fine_tuning import fine_tune
from recbole_tslrec.sft.settings import FineTuningSettings
from recbole_tslrec.sft.task import Task
from tests.decoders import ITEM_SIZE, encoder_of, tiny_decoder
from tests.sft.tasks import HISTORIES, NEXT_ITEM, next_item, trainer_of

OF_FOUR = np.arange(41) * 4  # forty users with four interactions
# the items 1 2 3 4 of the first user, 3 of the second, 4 4 of the third
TINY = Histories(["a", "b", "c"], np.array([1, 2, 3, 4, 3, 4, 4]), np.array([0, 4, 5, 7]))


def pairs(examples: Examples) -> list[tuple[list[int], int]]:
    """The prompt and the next item of each chosen example."""
    return [
        (examples.items[examples.starts[e] : examples.ends[e]].tolist(), int(examples.targets[e]) + 1)
        for e in examples.chosen
    ]


# which examples there are


def test_every_interaction_but_a_users_first_is_an_example() -> None:
    examples = interaction_examples(TINY, max_items=9, batch_size=2, seed=0)
    assert pairs(examples) == [([1], 2), ([1, 2], 3), ([1, 2, 3], 4), ([4], 4)]


def test_prompts_and_targets_are_the_most_recent_ones() -> None:
    """Two items in a prompt, and two targets of a user."""
    examples = interaction_examples(TINY, max_items=2, batch_size=2, seed=0)
    assert pairs(examples) == [([1, 2], 3), ([2, 3], 4), ([4], 4)]


def test_a_prompt_never_holds_its_target_or_what_comes_after() -> None:
    """With items numbered by time, all of a prompt are before the target, and of one user."""
    lengths = np.array([1, 2, 7, 30])
    in_order = Histories(list("abcd"), np.arange(1, 41), np.concatenate([[0], np.cumsum(lengths)]))
    examples = interaction_examples(in_order, max_items=5, batch_size=4, seed=0)
    assert len(examples) == 0 + 1 + 5 + 5
    for prompt, target in pairs(examples):
        owner = np.searchsorted(in_order.offsets, target) - 1
        assert prompt == list(range(target - len(prompt), target))
        assert in_order.offsets[owner] < prompt[0]


MakeTask = Callable[..., Task]


@pytest.fixture
def make_task(make_config: Callable[..., Any]) -> MakeTask:
    """``make_task(histories, **settings)``."""

    def make(histories: Histories = HISTORIES, **settings: Any) -> Task:
        return next_item(make_config(**{**NEXT_ITEM, **settings}), histories)

    return make


def test_validation_items_choose_the_epoch_by_ndcg(make_task: MakeTask) -> None:
    """Prompts of two items at most, of the histories before them."""
    task = make_task()
    assert task.valid_metric == "ndcg@10"
    assert pairs(task.valid)[:2] == [([1, 2], 3), ([4, 5], 6)]  # type: ignore[arg-type]


def test_the_prompt_has_e4srecs_words_and_as_many_items_as_the_context_holds(make_task: MakeTask) -> None:
    """A byte is a token of scratch, and BOS one more."""
    words = len(INSTRUCTION) + len(RESPONSE) + 1
    task = make_task(scratch_context_length=words + 1)
    assert task.shared_tokens + task.closing_tokens == words
    assert task.max_items == 1
    assert {len(prompt) for prompt, _ in pairs(task.train.in_epoch(0))} == {1}


def test_users_without_a_second_interaction_are_refused_with_the_cure(make_task: MakeTask) -> None:
    single = Histories(["a", "b"], np.array([1, 2]), np.array([0, 1, 2]))
    with pytest.raises(ValueError, match="needs users with two training interactions, and there are none"):
        make_task(single)


# what is minimised


def test_the_error_is_the_full_cross_entropy() -> None:
    """Of three items the second: -ln(4 / 6), and of equal scores ln 3."""
    scores = torch.tensor([[1.0, 4.0, 1.0], [1.0, 1.0, 1.0]]).log()
    objective = NextItemObjective(3)
    assert objective.errors(scores, torch.tensor([1, 0])).tolist() == pytest.approx([-math.log(4 / 6), math.log(3)])
    found = objective.metrics(scores, torch.tensor([1, 2]))
    assert found["top1"].tolist() == [1, 0]  # of equal scores the first comes first
    second = objective.metrics(scores[:1], torch.tensor([0]))
    assert second["top1"].tolist() == [0]
    assert second["ndcg@10"].tolist() == pytest.approx([1 / math.log2(3)])


def test_the_head_has_a_score_for_each_item_and_no_bias() -> None:
    head = NextItemObjective(3).head(5)
    assert [tuple(weight.shape) for weight in head.parameters()] == [(3, 5)]


def test_the_memory_plan_counts_the_head(make_task: MakeTask) -> None:
    task = make_task()
    head = task.network().head
    assert task.head_weights == head.weight.numel() == 8 * task.llm_config.hidden_size


def test_fine_tuning_learns_the_next_item(
    make_config: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every item is followed by the next number: both parts' loss falls far below ln 8, that of equal scores.

    With few words, so that a tiny LLM soon finds the items among them.
    """
    monkeypatch.setattr(e4srec, "INSTRUCTION", "i")
    monkeypatch.setattr(e4srec, "RESPONSE", "r")
    first = np.random.default_rng(0).integers(0, 8, 40)
    walks = Histories(
        [f"u{user}" for user in range(40)], np.concatenate(first[:, None] + np.arange(4)) % 8 + 1, OF_FOUR
    )
    config = make_config(**{**NEXT_ITEM, "sft_epochs": 8, "sft_learning_rate": 0.02})
    task = next_item(config, walks)
    parts = {"train": task.train.in_epoch(0), "valid": task.valid}
    trainer = trainer_of(config, task, tmp_path / "untrained")
    untrained = {name: trainer.evaluate(part, load_best_model=False)["loss"] for name, part in parts.items()}

    report = fine_tune(FineTuningSettings.of(config), task, tmp_path)
    load_trained_weights(trainer.model, tmp_path / CHECKPOINT)
    trained = {name: trainer.evaluate(part, load_best_model=False)["loss"] for name, part in parts.items()}
    assert report["valid"]["loss"] == pytest.approx(trained["valid"])
    for name, loss in trained.items():
        assert loss < 0.5 * min(untrained[name], math.log(8)), name


# an interrupted fine-tuning is gone on with: tests/sft/test_fine_tuning.py and tests/sft/test_resume.py, on all tasks


# the published layout


def test_published_layout_agrees_where_a_batch_has_no_pads() -> None:
    """Pads between the instruction and the items move the items' positions; without pads nothing is moved."""
    llm = tiny_decoder("Llama", attention="sdpa")
    own = encoder_of(llm)
    published = MiddlePadded(llm, Prompt(own.instruction, own.response), ITEM_SIZE, item_norm=2.0).eval()
    published.load_state_dict(own.state_dict())
    items = torch.randn(6, ITEM_SIZE, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        whole, padded = torch.tensor([3, 3]), torch.tensor([2, 4])
        torch.testing.assert_close(published(items, whole), own(items, whole), rtol=0, atol=1e-5)
        torch.testing.assert_close(published(items, padded)[1], own(items, padded)[1], rtol=0, atol=1e-5)
        assert (published(items, padded)[0] - own(items, padded)[0]).abs().max() > 1e-3
