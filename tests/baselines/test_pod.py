"""POD: its texts, random parts and lists, the loss with soft prompts, and that nothing of held-out items is in it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from recbole_tslrec.baselines.generation_examples import IGNORED, ItemObjective
from recbole_tslrec.baselines.item_index import item_paths
from recbole_tslrec.baselines.item_vocabulary import Vocabulary, user_words, vocabulary_of
from recbole_tslrec.baselines.next_items import Instances, NextItems
from recbole_tslrec.baselines.pod import pod_task, templates_of, untrained_network
from recbole_tslrec.baselines.pod_examples import (
    BARE,
    SEQUENTIAL_TASK,
    TEMPLATES,
    TEXTS,
    TOP_N_TASK,
    PODExamples,
    held_out_examples,
)
from recbole_tslrec.baselines.settings import PODSettings
from recbole_tslrec.baselines.words import word_tokenizer
from recbole_tslrec.data.histories import Histories

MakeConfig = Callable[..., Any]
ITEMS = 12
HISTORIES = Histories(["a", "b", "c"], np.array([3, 1, 2, 5, 6, 1]), np.array([0, 3, 5, 6]))  # c has a single item
SMALL = {"pod_candidates": 4, "pod_segments": 2, "sft_batch_size": 8}


def settings_of(make_config: MakeConfig, **settings: Any) -> PODSettings:
    """POD's settings, with few candidates."""
    return PODSettings.of(make_config(**{**SMALL, **settings}))


def words_of(settings: PODSettings, histories: Histories) -> Vocabulary:
    """The items as words."""
    paths = item_paths(settings.index, histories, ITEMS)
    return vocabulary_of(settings.engine.llm, "sequential", paths, bare=True, texts=TEXTS)


def examples_of(settings: PODSettings, histories: Histories = HISTORIES) -> PODExamples:
    """What is trained on."""
    vocabulary = words_of(settings, histories)
    users = user_words(vocabulary, len(histories))
    return PODExamples(settings, vocabulary, templates_of(vocabulary), users, histories)


def read(tokens: Any) -> str:
    """Tokens as text, without the end of an item."""
    text: str = word_tokenizer(TEXTS).decode(tokens, skip_special_tokens=True)
    return text


def test_nothing_that_a_t5_knows_starts_anew(make_config: MakeConfig) -> None:
    assert not len(words_of(settings_of(make_config), HISTORIES).fresh)


# examples


def test_a_held_out_item_is_asked_for_in_ids_alone_and_named_by_its_number(make_config: MakeConfig) -> None:
    """Only users and items are counted as words; items are numbered as users meet them: 3 is 1001, 1 is 1002.

    As T5's tokenizers do, </s> ends the text.
    """
    examples = examples_of(settings_of(make_config))
    valid = Instances(np.array([0]), NextItems(np.array([3, 1]), np.array([0]), np.array([2]), np.array([5])))
    found = held_out_examples(examples, valid)
    text = found.prompt(0).text
    assert read(text.tokens) == " user_1 item_1001 item_1002"
    assert text.tokens[-1] == examples.vocabulary.end
    assert text.words.tolist() == [1, 1, 2, 2, 2, 3, 3, 3, 0]
    assert read(found.item_tokens[found.prompt(0).item - 1]) == " 1004"


def test_words_of_a_template_have_no_number(make_config: MakeConfig) -> None:
    examples = examples_of(settings_of(make_config)).in_epoch(0)
    for example in range(len(examples)):
        text = examples.prompt(example).text
        numbers = dict.fromkeys(text.words.tolist())
        ids = [word for word in read(text.tokens).split() if "_" in word]
        assert sorted(numbers) == list(range(0 if 0 in numbers else 1, len(ids) + 1))
        assert sum(text.words > 0) == sum(1 + (len(word) - 4) // 2 for word in ids)  # user_1: 2, item_1001: 3


def test_a_user_of_one_interaction_has_no_example(make_config: MakeConfig) -> None:
    examples = examples_of(settings_of(make_config))
    assert examples.eligible.tolist() == [0, 1]
    assert len(examples) == len(examples.in_epoch(0)) == 2 * (2 + 1)


def test_parts_lie_in_the_history_before_their_target(make_config: MakeConfig) -> None:
    """Over many epochs every part of the first user's history is drawn, and nothing else."""
    settings, histories = settings_of(make_config), Histories(["a"], np.array([3, 1, 2, 5]), np.array([0, 4]))
    examples, drawn = examples_of(settings, histories), set()
    for epoch in range(60):
        parts = examples._segments(np.random.default_rng(epoch))
        drawn |= {(*part.tolist(), target) for part, target in zip(parts.histories, parts.target.tolist(), strict=True)}
    assert drawn == {(3, 1), (3, 1, 2), (3, 1, 2, 5), (1, 2), (1, 2, 5), (2, 5)}


def test_parts_are_cut_to_the_most_recent_items(make_config: MakeConfig) -> None:
    examples = examples_of(settings_of(make_config, pod_max_items=1))
    assert {len(part) for part in examples._segments(np.random.default_rng(0)).histories} == {1}


def test_a_list_has_one_item_of_the_user_and_each_item_once(make_config: MakeConfig) -> None:
    examples = examples_of(settings_of(make_config))
    for epoch in range(10):
        lists, positive = examples._lists(np.random.default_rng(epoch))
        for shown, own, user in zip(lists, positive, examples.eligible, strict=True):
            assert len(set(shown.tolist())) == len(shown) == 4
            assert set(shown.tolist()) & set(HISTORIES[user].tolist()) == {own}


def test_examples_are_drawn_anew_and_the_same_every_time(make_config: MakeConfig) -> None:
    examples = examples_of(settings_of(make_config))
    assert examples.in_epoch(0).fingerprint == examples.in_epoch(0).fingerprint
    assert examples.in_epoch(0).fingerprint != examples.in_epoch(1).fingerprint


def test_examples_have_the_tokens_that_are_counted(make_config: MakeConfig) -> None:
    settings = settings_of(make_config)
    examples = examples_of(settings)
    epoch = examples.in_epoch(0)
    batch = epoch.interaction(epoch.chosen)
    labels = (batch["target"] != IGNORED).sum(dim=1)
    assert (batch["token_count"] + labels + settings.pod_soft_prompts).tolist() == epoch.token_counts.tolist()
    assert epoch.longest_prompt <= examples.longest_prompt


def test_held_out_items_change_nothing_that_is_trained_on(make_config: MakeConfig) -> None:
    """The whole histories are cut to the same training part: other items behind it leave everything as it is."""
    settings = settings_of(make_config)
    whole = [
        Histories(["a", "b"], np.array([1, 2, 3, a, b, 4, 5, 6, c, d]), np.array([0, 5, 10]))
        for a, b, c, d in [(7, 8, 9, 10), (12, 11, 2, 1)]
    ]
    first, second = (examples_of(settings, each.first(np.array([3, 3]))) for each in whole)
    for mine, theirs in zip(first.vocabulary.items, second.vocabulary.items, strict=True):
        assert np.array_equal(mine, theirs)
    assert first.in_epoch(0).fingerprint == second.in_epoch(0).fingerprint


# the loss


@torch.no_grad()
def test_the_loss_is_that_of_each_prompt_alone_behind_its_tasks_soft_prompts(make_config: MakeConfig) -> None:
    """A plain recomputation in float64; what is no id has row 0 of the word embedding, soft prompts have none."""
    settings = settings_of(make_config)
    examples = examples_of(settings)
    network, epoch = untrained_network(settings, examples.vocabulary).double().eval(), examples.in_epoch(0)
    inputs = epoch.interaction(epoch.chosen).interaction
    assert set(inputs["task"].tolist()) == {SEQUENTIAL_TASK, TOP_N_TASK}
    target = inputs.pop("target")
    _, scores = network(**inputs)
    found = ItemObjective().errors(scores, target)
    t5 = network.t5
    assert network.soft_prompts is not None
    soft = network.soft_prompts.weight.view(len(TEMPLATES), settings.pod_soft_prompts, -1)
    assert soft.abs().max() <= 0.1
    for example in range(len(epoch)):
        prompt = epoch.prompt(example)
        words = network.whole_words.weight[torch.from_numpy(prompt.text.words)]
        embedded = torch.cat([soft[prompt.task], t5.shared.weight[torch.from_numpy(prompt.text.tokens)] + words])
        labels = torch.from_numpy(examples.vocabulary.generated[prompt.item - 1])
        decoded = torch.cat([torch.zeros(1, dtype=torch.int64), labels[:-1]])
        alone = t5(inputs_embeds=embedded[None], decoder_input_ids=decoded[None]).logits[0]
        torch.testing.assert_close(found[example], cross_entropy(alone, labels), rtol=1e-9, atol=1e-9)


# what is refused


def test_users_of_single_interactions_are_refused(make_config: MakeConfig) -> None:
    single = Histories(["a", "b"], np.array([1, 2]), np.array([0, 1, 2]))
    settings = settings_of(make_config)
    valid = Instances(np.array([0]), NextItems(np.array([1]), np.array([0]), np.array([1]), np.array([2])))
    with pytest.raises(ValueError, match="POD needs users with two training interactions"):
        pod_task(settings, words_of(settings, single), single, valid)


def test_the_last_text_of_a_task_is_of_ids_alone() -> None:
    assert [texts[BARE] for texts in TEMPLATES] == ["{user} {items}", "{user} {items}"]
