"""LlamaRec's ranker: its prompt, the loss of the letter, what is learned, and combined scores."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from recbole_tslrec.baselines import ranking_prompt
from recbole_tslrec.baselines.llamarec import (
    LetterObjective,
    Retrieved,
    item_titles,
    ranking_task,
    retrieved_examples,
    training_examples,
)
from recbole_tslrec.baselines.llamarec_ranker import combined_scores
from recbole_tslrec.baselines.ranking_prompt import (
    CANDIDATES,
    INSTRUCTION,
    LETTERS,
    RESPONSE,
    RankingPrompt,
    build_ranking_prompt,
)
from recbole_tslrec.baselines.settings import LlamaRecSettings
from recbole_tslrec.data.histories import Histories
from recbole_tslrec.llm.loading import byte_level_tokenizer
from recbole_tslrec.sft.fine_tuning import fine_tune

MakeConfig = Callable[..., Any]
ITEMS = 30
TITLES = [f"title {item}" for item in range(1, ITEMS + 1)]
TOKENIZER = byte_level_tokenizer()
PROMPT = build_ranking_prompt(TOKENIZER, TITLES, title_tokens=32)


def settings_of(make_config: MakeConfig, **settings: Any) -> LlamaRecSettings:
    """The ranker's settings, in steps of eight."""
    return LlamaRecSettings.of(make_config(**{"sft_batch_size": 8, **settings}))


# titles


@pytest.mark.parametrize(
    ("titles", "called", "warned"),
    [(["Heat", ""], ["Heat", "item 8"], False), (["", ""], ["item 7", "item 8"], True)],
)
def test_items_without_a_title_are_called_by_their_ids(
    make_config: MakeConfig, caplog: pytest.LogCaptureFixture, titles: list[str], called: list[str], warned: bool
) -> None:
    settings = settings_of(make_config).text
    lines = ["item_id:token\tmovie_title:token_seq", *map("\t".join, zip("78", titles, strict=True))]
    (Path(settings.data_path) / f"{settings.dataset}.item").write_text("\n".join(lines))
    assert item_titles(settings, ["7", "8"]) == called
    assert ("has no titles" in caplog.text) == warned


# the prompt


def test_a_prompt_names_history_and_candidates() -> None:
    """A byte is a token, so the tokens can be read."""
    text = TOKENIZER.decode([*PROMPT.instruction[1:], *PROMPT.segment([3, 1], [2, 30])])
    assert text == (f"{INSTRUCTION}(1) title 3\n(2) title 1\nCandidates:\n(A) title 2\n(B) title 30\n{RESPONSE}")
    assert TOKENIZER.decode(PROMPT.letters) == LETTERS


def test_the_most_recent_items_are_named_and_titles_are_cut() -> None:
    prompt = build_ranking_prompt(TOKENIZER, TITLES, title_tokens=3)
    text = TOKENIZER.decode(prompt.segment(list(range(1, 26)), [1]))
    assert text.startswith("(1) tit\n")
    assert text.count("tit\n") == 21
    whole = TOKENIZER.decode(PROMPT.segment(list(range(1, 26)), [1]))
    assert whole.startswith("(1) title 6\n")
    assert "(20) title 25\n" in whole


def test_no_prompt_is_longer_than_the_most_tokens() -> None:
    longest = len(PROMPT.instruction) + len(PROMPT.segment([30] * 20, [30] * 20)) + 1
    assert longest == PROMPT.most_tokens


class Pairs:
    """A tokenizer that makes one token of two letters."""

    bos_token_id = eos_token_id = 0

    def __call__(self, text: Any, add_special_tokens: bool) -> dict[str, Any]:
        if isinstance(text, list):
            return {"input_ids": [self(each, False)["input_ids"] for each in text]}
        return {"input_ids": [hash(text[i : i + 2]) % 1000 for i in range(0, len(text), 2)]}


def test_a_tokenizer_that_joins_the_letter_with_what_is_before_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking_prompt, "RESPONSE", "odd")
    with pytest.raises(ValueError, match="does not make one token of its own of the answer"):
        build_ranking_prompt(Pairs(), TITLES, 32)


# the examples


def test_examples_have_the_tokens_that_are_counted(make_config: MakeConfig) -> None:
    histories = Histories(["a", "b"], np.array([1, 2, 3, *range(1, 27)]), np.array([0, 3, 29]))
    found = training_examples(settings_of(make_config), PROMPT, histories, ITEMS)
    examples = found.in_epoch(0)
    assert len(found) == len(examples) == 2 + 25
    batch = examples.interaction(examples.chosen)
    assert batch["token_count"].tolist() == examples.token_counts.tolist()
    assert max(examples.token_counts) <= found.longest_prompt
    target = [3 if e == 1 else 2 if e == 0 else e for e in range(27)]
    for example in range(27):
        assert examples.candidates[example, examples.answer[example]] == target[example]
        assert examples.tokens(example)[-1] == PROMPT.letters[examples.answer[example]]
    assert (batch["target"][-1] == torch.tensor([examples.answer[-1], 5])).all()  # 25 of 30 items were had before


def test_candidates_are_drawn_anew_in_every_epoch(make_config: MakeConfig) -> None:
    histories = Histories(["a"], np.array([1, 2, 3]), np.array([0, 3]))
    found = training_examples(settings_of(make_config), PROMPT, histories, ITEMS)
    assert found.in_epoch(0).fingerprint == found.in_epoch(0).fingerprint != found.in_epoch(1).fingerprint


def test_only_rows_whose_target_was_retrieved_choose_the_epoch(make_config: MakeConfig) -> None:
    candidates = np.zeros((2, CANDIDATES), dtype=np.int64)
    candidates[:, :3] = [[5, 7, 9], [5, 7, 9]]
    rows = Retrieved([np.array([1, 2]), np.array([3])], candidates, np.array([7, 8]))
    examples = retrieved_examples(settings_of(make_config), PROMPT, rows)
    assert examples.chosen.tolist() == [0]
    assert examples.interaction(examples.chosen)["target"].tolist() == [[1, 3]]
    assert "(1) title 1\n(2) title 2\nCandidates:\n(A) title 5\n" in TOKENIZER.decode(examples.tokens(0))


# loss and scores


def test_the_loss_is_that_of_letter_and_end() -> None:
    """Half of each cross entropy over the whole vocabulary, in float64."""
    torch.manual_seed(0)
    scores = torch.randn(3, 2, 50, dtype=torch.float64)
    objective = LetterObjective(torch.arange(20) + 10, end=4)
    target = torch.tensor([[0, 20], [19, 20], [2, 3]])
    found = objective.errors(scores, target)
    for row, letter in enumerate([10, 29, 12]):
        expected = cross_entropy(scores[row, :1], torch.tensor([letter])) + cross_entropy(
            scores[row, 1:], torch.tensor([4])
        )
        assert float(found[row]) == pytest.approx(float(expected) / 2, abs=1e-12)


def test_the_rank_is_among_the_letters_of_candidates() -> None:
    """The third of three letters is best but has no candidate; the first is second of two."""
    scores = torch.full((1, 2, 50), -1.0)
    scores[0, 0, [10, 11, 12, 40]] = torch.tensor([1.0, 2.0, 3.0, 9.0])
    objective = LetterObjective(torch.arange(20) + 10, end=4)
    found = objective.metrics(scores, torch.tensor([[0, 2]]))
    assert float(found["ndcg@10"]) == pytest.approx(1 / np.log2(3))
    assert float(found["top1"]) == 0
    assert objective.probabilities(scores[:, 0], torch.tensor([2]))[0, 2:].tolist() == [0.0] * 18


def test_candidates_stand_above_all_others_by_their_probability() -> None:
    retriever = torch.tensor([[9.0, 4.0, 3.0, 2.0, 1.0]])
    found = combined_scores(retriever, torch.tensor([[3, 1, 0]]), torch.tensor([[0.75, 0.25, 0.0]]))
    assert found.tolist() == [[-torch.inf, 6.0, 3.0, 7.0, 1.0]]


def test_candidates_keep_their_order_beside_large_scores():
    """Float32 has no number between 1e6 and 1e6 + .05."""
    retriever, probabilities = torch.tensor([[0.0, 1e6, 3.0, 2.0]]), torch.tensor([[1e-9, 0.98, 2e-9]])
    scores = combined_scores(retriever, torch.tensor([[1, 2, 3]]), probabilities)
    assert scores.argsort(descending=True).tolist() == [[2, 3, 1, 0]]


# training


def walks(users: int = 60, length: int = 5) -> Histories:
    """Every item is followed by the next number."""
    first = np.random.default_rng(0).integers(0, ITEMS, users)
    flat = np.concatenate(first[:, None] + np.arange(length)) % ITEMS + 1
    return Histories([f"u{user}" for user in range(users)], flat, np.arange(users + 1) * length)


def retrieved(histories: Histories) -> Retrieved:
    """The item behind each history, among nineteen others in random order."""
    random = np.random.default_rng(1)
    last = np.array([history[-1] for history in map(histories.__getitem__, range(len(histories)))])
    target = last % ITEMS + 1
    others = np.array([random.permutation(np.setdiff1d(np.arange(1, ITEMS + 1), [t]))[:19] for t in target])
    candidates = random.permuted(np.concatenate([target[:, None], others], axis=1), axis=1)
    return Retrieved([histories[user] for user in range(len(histories))], candidates, target)


@pytest.fixture
def few_words(monkeypatch: pytest.MonkeyPatch) -> RankingPrompt:
    """A prompt that is almost titles alone, and titles of one token, so that a tiny LLM soon finds them."""
    monkeypatch.setattr(ranking_prompt, "INSTRUCTION", "i")
    monkeypatch.setattr(ranking_prompt, "RESPONSE", ":")
    return build_ranking_prompt(TOKENIZER, [chr(ord("a") + item) for item in range(ITEMS)], 1)


def test_fine_tuning_learns_to_name_the_next_item(
    make_config: MakeConfig, few_words: RankingPrompt, tmp_path: Path
) -> None:
    """One of two titles in the history decides between two candidates."""
    settings = settings_of(
        make_config,
        sft_epochs=40,
        sft_stopping_step=40,
        sft_learning_rate=1e-2,
        sft_batch_size=16,
        scratch_hidden_size=32,
    )
    target = np.arange(60) % 2 + 1
    candidates = np.pad(np.tile([1, 2], (60, 1)), ((0, 0), (0, CANDIDATES - 2)))
    rows = Retrieved([np.array([20 + item]) for item in target], candidates, target)
    task = ranking_task(settings, few_words, walks(), ITEMS, rows)
    report = fine_tune(settings.engine, replace(task, train=task.valid), tmp_path)
    assert report["valid"]["top1"] == pytest.approx(1.0)
    assert report["valid"]["loss"] < 0.1
    assert report["valid_candidate_coverage"] == 1.0


def test_a_context_that_titles_may_exceed_is_refused(make_config: MakeConfig) -> None:
    histories = walks(4)
    with pytest.raises(ValueError, match=r"make prompts of up to \d+ tokens, .* holds 64; lower --ranker_title_tokens"):
        ranking_task(
            settings_of(make_config, scratch_context_length=64), PROMPT, histories, ITEMS, retrieved(histories)
        )


def test_a_retriever_that_finds_nothing_is_refused(make_config: MakeConfig) -> None:
    histories = walks(4)
    found = retrieved(histories)
    nothing = Retrieved(found.histories, np.zeros_like(found.candidates), found.target)
    settings = settings_of(make_config, scratch_context_length=4096)
    with pytest.raises(ValueError, match=r"found none of 4 validation items .* --retriever"):
        ranking_task(settings, PROMPT, histories, ITEMS, nothing)
