"""Control rows: vectors that go through the same gate as the LLM's, and what an ideal Stage 1 could say of an item."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recbole_tslrec.augmentation.control_vectors import (
    co_occurrence_vectors,
    mean_targets,
    random_vectors,
    tfidf_vectors,
)
from recbole_tslrec.augmentation.knowledge import load_knowledge
from recbole_tslrec.data.histories import Histories
from recbole_tslrec.pipeline import run_stages
from recbole_tslrec.pipeline.knowledge_sources import KNOWLEDGE_SOURCES, SFT

CONTROLS = [source for source in KNOWLEDGE_SOURCES if source != SFT]
BUILT = {  # the stages between the item embeddings and the knowledge that a control row needs
    "random": [],
    "stage0": [],
    "untuned": [],
    "co_interaction": ["targets"],
    "co_occurrence": [],
    "tfidf": [],
}


@pytest.fixture
def configure(make_config: Callable[..., Any], tmp_path: Path) -> Callable[[str], Any]:
    """``configure(source)``: of a dataset whose items have titles, but for ``i0``."""

    def make(source: str) -> Any:
        config = make_config("TSLRecSASRec", knowledge_source=source, prompt_item_text="title")
        titles = [f"i{item}\tthing_{item} red" for item in range(1, 30)]
        text = "\n".join(["item_id:token\ttitle:token_seq", *titles]) + "\n"
        (tmp_path / "data" / "toy" / "toy.item").write_text(text)
        return config

    return make


def test_an_items_mean_target_is_over_its_users_each_once() -> None:
    # u has items 1, 1, 2; v has items 1 and 3; nobody has item 4
    histories = Histories(["u", "v"], np.array([1, 1, 2, 1, 3]), np.array([0, 3, 5]))
    targets = torch.tensor([[1.0, 0.0], [0.5, 0.5]])
    means, known = mean_targets(histories, targets, 4)
    assert means.tolist() == [[0.75, 0.25], [1.0, 0.0], [0.5, 0.5], [0.0, 0.0]]
    assert known.tolist() == [True, True, True, False]


# a and b stand beside each other twice, b and c, c and d, d and e once; nobody has the sixth item
NEIGHBOURS = Histories(["u", "v"], np.array([1, 2, 3, 1, 2, 4, 5]), np.array([0, 3, 7]))


def ties(window: int, shift: float) -> Any:
    """What the vectors are made of, [N, N]: they are its singular vectors times its singular values, all of them."""
    vectors, known = co_occurrence_vectors(NEIGHBOURS, 6, window, shift, seed=1)
    return (vectors @ vectors.T).numpy(), known.tolist()


def mutual_information(pairs: dict[tuple[int, int], int], shift: float) -> Any:
    """The positive mutual information as it is defined, pair by pair, times its transpose."""
    count = np.zeros((6, 6))
    for (first, second), times in pairs.items():
        count[first, second] = count[second, first] = times
    table = np.zeros((6, 6))
    for first, second in zip(*count.nonzero(), strict=True):
        together = count[first, second] / count.sum()
        apart = count[first].sum() / count.sum() * count[second].sum() / count.sum()
        table[first, second] = max(0, np.log(together / apart) - np.log(shift))
    return table @ table.T


@pytest.mark.parametrize("shift", [1, 1.5])
@pytest.mark.parametrize(
    ("window", "pairs"),
    [
        (1, {(0, 1): 2, (1, 2): 1, (1, 3): 1, (3, 4): 1}),
        (2, {(0, 1): 2, (1, 2): 1, (1, 3): 1, (3, 4): 1, (0, 2): 1, (0, 3): 1, (1, 4): 1}),
        (9, {(0, 1): 2, (1, 2): 1, (1, 3): 1, (3, 4): 1, (0, 2): 1, (0, 3): 1, (1, 4): 1, (0, 4): 1}),
    ],
)
def test_items_are_tied_by_the_positive_mutual_information_of_neighbours(
    window: int, pairs: dict[tuple[int, int], int], shift: float
) -> None:
    found, known = ties(window, shift)
    expected = mutual_information(pairs, shift)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert known == [bool(row.any()) for row in expected]


def test_an_item_beside_itself_is_no_neighbour() -> None:
    alone = Histories(["u", "v"], np.array([1, 1, 2, 3, 4]), np.array([0, 3, 5]))
    without = Histories(["u", "v"], np.array([1, 2, 3, 4]), np.array([0, 2, 4]))
    found, expected = (co_occurrence_vectors(each, 4, 1, 1, seed=1)[0] for each in (alone, without))
    torch.testing.assert_close(found @ found.T, expected @ expected.T)


def test_no_ties_at_all_are_refused() -> None:
    with pytest.raises(ValueError, match=r"no two items stand within 1 positions .* raise co_occurrence_window"):
        co_occurrence_vectors(NEIGHBOURS, 6, 1, 100, seed=1)


@pytest.mark.parametrize("shift", [0.5, True])
def test_a_shift_below_1_is_refused(make_config: Callable[..., Any], shift: Any) -> None:
    config = make_config("TSLRecSASRec", knowledge_source="co_occurrence", co_occurrence_shift=shift)
    with pytest.raises(ValueError, match=rf"co_occurrence_shift \[{shift}\] must be a number from 1 on"):
        run_stages(config)


def test_words_are_compared_by_their_tf_idf() -> None:
    vectors, known = tfidf_vectors(["red soap", "Red soap", "blue comb", ""], seed=1)
    assert known.tolist() == [True, True, True, False]
    assert vectors[0].tolist() == pytest.approx(vectors[1].tolist(), abs=1e-6)  # of unit length, as all rows of TF-IDF
    assert float(vectors[0] @ vectors[1]) == pytest.approx(1.0, abs=1e-5)
    assert float(vectors[0] @ vectors[2]) == pytest.approx(0.0, abs=1e-5)
    assert not vectors[3].any()


def test_items_without_words_have_no_tf_idf_row(configure: Callable[[str], Any]) -> None:
    run = run_stages(configure("tfidf"), stop_after="knowledge")
    assert set(run.data.item_tokens) - set(run.artifacts["knowledge"].item_tokens()) == {"i0"}


def test_tf_idf_without_words_is_refused_before_anything_is_trained(make_config: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match=r"\[tfidf\] needs words; name columns of the .item file in prompt_item_text"):
        run_stages(make_config("TSLRecSASRec", knowledge_source="tfidf"))


def test_random_vectors_are_a_function_of_the_seed() -> None:
    assert torch.equal(random_vectors(3, 5, 1), random_vectors(3, 5, 1))
    assert not torch.equal(random_vectors(3, 5, 1), random_vectors(3, 5, 2))


@pytest.mark.parametrize("source", CONTROLS)
def test_a_control_row_is_trained_through_the_gate_under_its_own_name(
    configure: Callable[[str], Any], source: str
) -> None:
    run = run_stages(configure(source))
    between = [stage.kind for stage in run.finished if stage.kind in ("targets", "sft")]
    assert between == BUILT[source]
    assert source in run.evaluations
    assert "TSLRec" not in run.evaluations


def test_every_source_gives_other_vectors_and_shares_the_backbone(configure: Callable[[str], Any]) -> None:
    runs = [run_stages(configure(source)) for source in KNOWLEDGE_SOURCES]
    assert len({run.artifacts["backbone"].hash for run in runs}) == 1
    assert len({run.artifacts["knowledge"].hash for run in runs}) == len(KNOWLEDGE_SOURCES)


def test_an_llm_that_is_not_fine_tuned_is_exported_once_whatever_the_fine_tuning(
    make_config: Callable[..., Any],
) -> None:
    first, other = (
        run_stages(make_config("TSLRecSASRec", knowledge_source="untuned", **settings), stop_after="knowledge")
        for settings in ({}, {"sft_learning_rate": 0.5, "sft_epochs": 7, "sft_loss": "kl", "lora_rank": 3})
    )
    assert other.artifacts["knowledge"].folder == first.artifacts["knowledge"].folder
    longer = make_config("TSLRecSASRec", knowledge_source="untuned", prompt_instruction="other words")
    assert (
        run_stages(longer, stop_after="knowledge").artifacts["knowledge"].folder != first.artifacts["knowledge"].folder
    )


def test_stage_0_control_holds_the_item_embeddings(make_config: Callable[..., Any]) -> None:
    run = run_stages(make_config("TSLRecSASRec", knowledge_source="stage0"), stop_after="knowledge")
    rows = run.artifacts["item_embeddings"].tensors()["item_embeddings"]
    assert torch.equal(load_knowledge(run.artifacts["knowledge"].folder, run.data.dataset).rows[1:], rows)


def test_items_without_a_training_user_have_no_co_interaction_row(make_config: Callable[..., Any]) -> None:
    rows = [
        (user, item, float(time))
        for user, items in {"u": "abcd", "v": "abce"}.items()
        for time, item in enumerate(items)
    ]
    run = run_stages(
        make_config("TSLRecSASRec", rows, knowledge_source="co_interaction", group_count=2), stop_after="knowledge"
    )
    assert sorted(run.artifacts["knowledge"].item_tokens()) == ["a", "b"]  # the last two of each are held out


@pytest.mark.parametrize("source", ["random", "co_occurrence", "tfidf"])
def test_vectors_that_no_model_is_needed_for_train_none(configure: Callable[[str], Any], source: str) -> None:
    run = run_stages(configure(source), stop_after="knowledge")
    assert [stage.kind for stage in run.finished] == ["knowledge"]


def test_random_vectors_are_as_wide_as_the_llm(make_config: Callable[..., Any]) -> None:
    run = run_stages(make_config("TSLRecSASRec", knowledge_source="random"), stop_after="knowledge")
    assert run.artifacts["knowledge"].tensors()["knowledge"].shape[1] == 16


def test_a_control_row_of_given_vectors_is_refused(make_config: Callable[..., Any], make_knowledge: Any) -> None:
    given = make_knowledge(["i0"], torch.ones(1, 3))
    config = make_config("TSLRecSASRec", knowledge_source="random", knowledge_path=str(given.folder))
    with pytest.raises(ValueError, match=r"knowledge_source \[random\] makes item vectors, and knowledge_path"):
        run_stages(config)


def test_an_unknown_source_is_refused_before_anything_is_trained(make_config: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match=r"knowledge_source \[dice\] is not one of sft, random, stage0"):
        run_stages(make_config("TSLRecSASRec", knowledge_source="dice"))
