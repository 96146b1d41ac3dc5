"""P5: its prompts, what is trained on, the loss, and that nothing of held-out items is in it."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from recbole_tslrec.baselines.beam_search import beam_search
from recbole_tslrec.baselines.generation_examples import IGNORED, ItemObjective
from recbole_tslrec.baselines.generation_task import build_network
from recbole_tslrec.baselines.item_index import item_paths
from recbole_tslrec.baselines.item_vocabulary import Vocabulary, user_words, vocabulary_of
from recbole_tslrec.baselines.next_items import training_instances
from recbole_tslrec.baselines.p5 import templates_of
from recbole_tslrec.baselines.p5_examples import P5Examples
from recbole_tslrec.baselines.p5_prompts import SEQUENTIAL, STRAIGHTFORWARD, TEXTS, TRAINED
from recbole_tslrec.baselines.settings import INDICES, P5Settings
from recbole_tslrec.baselines.words import word_tokenizer
from recbole_tslrec.data.histories import Histories
from recbole_tslrec.settings import ConfigError

MakeConfig = Callable[..., Any]
ITEMS = 12
HISTORIES = Histories(["a", "b", "c"], np.array([3, 1, 2, 5, 6, 1, 4]), np.array([0, 3, 5, 7]))
SMALL = {"p5_clusters": 2, "p5_token_size": 4, "sft_batch_size": 8}


def settings_of(make_config: MakeConfig, **settings: Any) -> P5Settings:
    """P5's settings, with clusters for few items."""
    return P5Settings.of(make_config(**{**SMALL, **settings}))


def examples_of(settings: P5Settings, histories: Histories = HISTORIES) -> P5Examples:
    """What is trained on."""
    vocabulary = words_of(settings, histories)
    users, templates = user_words(vocabulary, len(histories)), templates_of(vocabulary)
    return P5Examples(settings, vocabulary, templates, users, training_instances(histories, settings.p5_max_items))


def words_of(settings: P5Settings, histories: Histories) -> Vocabulary:
    """The items as words."""
    paths = item_paths(settings.index, histories, ITEMS)
    return vocabulary_of(settings.engine.llm, settings.index.p5_index, paths, bare=False, texts=TEXTS)


def read(tokens: Any) -> str:
    """Tokens as text."""
    text: str = word_tokenizer(TEXTS).decode(tokens)
    return text


# prompts


@pytest.mark.parametrize("texts", [SEQUENTIAL, STRAIGHTFORWARD])
def test_ten_paraphrases_are_trained_and_one_is_not(texts: tuple[str, ...]) -> None:
    assert len(set(texts)) == TRAINED + 1
    assert all("{user}" in text for text in texts)
    assert all(("{history}" in text) == (texts is SEQUENTIAL) for text in texts)


def test_the_numbers_of_items_start_anew_and_their_word_does_not(make_config: MakeConfig) -> None:
    vocabulary = words_of(settings_of(make_config), HISTORIES)
    found = {read([token]) for token in vocabulary.fresh}
    assert "10" in found
    assert not any("item" in piece for piece in found)


def test_a_prompt_names_user_and_history_word_by_word(make_config: MakeConfig) -> None:
    """Items are numbered as users meet them: 3 is 1001, 1 is 1002. As T5's tokenizers do, </s> ends the text."""
    examples = examples_of(settings_of(make_config))
    prompt = examples.prompt(1, task=0, template=0)  # the third interaction of the first user
    text = " After item_1001 item_1002 , which item does user user_1 choose next ?</s>"
    assert read(prompt.text.tokens) == text
    assert prompt.item == 2
    pieces = [1, 3, 3, 1, 1, 1, 1, 1, 2, 1, 1, 1]  # item_ 10 01, user_ 1
    assert prompt.text.words.tolist() == [*np.repeat(range(1, 13), pieces), 0]


def test_an_instance_is_each_interaction_but_a_users_first_with_what_was_before(make_config: MakeConfig) -> None:
    found = training_instances(HISTORIES, max_items=1)
    rows = found.rows
    histories = [rows.items[a:b].tolist() for a, b in zip(rows.starts, rows.ends, strict=True)]
    assert list(zip(found.user.tolist(), histories, rows.target.tolist(), strict=True)) == [
        (0, [3], 1),
        (0, [1], 2),
        (1, [5], 6),
        (2, [1], 4),
    ]


@pytest.mark.parametrize(("prompts", "straightforward", "count"), [(1, False, 4), (3, True, 24), (10, False, 40)])
def test_paraphrases_are_drawn_anew_and_none_twice(
    make_config: MakeConfig, prompts: int, straightforward: bool, count: int
) -> None:
    examples = examples_of(settings_of(make_config, p5_prompts=prompts, p5_straightforward=straightforward))
    first, second = examples.in_epoch(0), examples.in_epoch(1)
    assert len(examples) == len(first) == count
    prompts = [(prompt.text.tokens.tobytes(), prompt.item) for prompt in map(first.prompt, range(count))]
    assert len(set(prompts)) == count
    assert first.fingerprint == examples.in_epoch(0).fingerprint
    assert first.fingerprint != second.fingerprint


@pytest.mark.parametrize("index", INDICES)
def test_examples_have_the_tokens_that_are_counted(make_config: MakeConfig, index: str) -> None:
    examples = examples_of(settings_of(make_config, p5_index=index))
    epoch = examples.in_epoch(0)
    batch = epoch.interaction(epoch.chosen)
    labels = (batch["target"] != IGNORED).sum(dim=1)
    assert (batch["token_count"] + labels).tolist() == epoch.token_counts.tolist()
    assert epoch.longest_prompt <= examples.longest_prompt


# honest indices


@pytest.mark.parametrize("index", INDICES)
def test_held_out_items_change_neither_index_nor_examples(make_config: MakeConfig, index: str) -> None:
    """The whole histories are cut to the same training part: other items behind it leave everything as it is."""
    settings = settings_of(make_config, p5_index=index)
    whole = [
        Histories(["a", "b"], np.array([1, 2, 3, a, b, 4, 5, 6, c, d]), np.array([0, 5, 10]))
        for a, b, c, d in [(7, 8, 9, 10), (12, 11, 2, 1)]
    ]
    first, second = (examples_of(settings, each.first(np.array([3, 3]))) for each in whole)
    for mine, theirs in zip(first.vocabulary.items, second.vocabulary.items, strict=True):
        assert np.array_equal(mine, theirs)
    assert first.in_epoch(0).fingerprint == second.in_epoch(0).fingerprint


# loss and search


def network_of(settings: P5Settings, examples: P5Examples) -> Any:
    """The untrained network in float64, in evaluation mode."""
    return build_network(settings.engine.llm, examples.vocabulary).double().eval()


@pytest.mark.parametrize("index", ["sequential", "collaborative"])
@torch.no_grad()
def test_the_loss_is_the_mean_over_an_items_tokens_prompt_by_prompt(make_config: MakeConfig, index: str) -> None:
    """A plain recomputation in float64 of each prompt alone, with its word numbers added by hand."""
    settings = settings_of(make_config, p5_index=index)
    examples = examples_of(settings)
    network, epoch = network_of(settings, examples), examples.in_epoch(0)
    inputs = epoch.interaction(epoch.chosen).interaction
    target = inputs.pop("target")
    _, scores = network(**inputs)
    found = ItemObjective().errors(scores, target)
    t5 = network.t5
    for example in range(len(epoch)):
        prompt = epoch.prompt(example)
        words = network.whole_words.weight[torch.from_numpy(prompt.text.words)]
        embedded = t5.shared.weight[torch.from_numpy(prompt.text.tokens)] + words
        labels = torch.from_numpy(examples.vocabulary.generated[prompt.item - 1])
        decoded = torch.cat([torch.zeros(1, dtype=torch.int64), labels[:-1]])
        alone = t5(inputs_embeds=embedded[None], decoder_input_ids=decoded[None]).logits[0]
        torch.testing.assert_close(found[example], cross_entropy(alone, labels), rtol=1e-9, atol=1e-9)


@torch.no_grad()
def test_beams_are_the_full_ranking_by_log_probability(make_config: MakeConfig) -> None:
    """With twelve beams for twelve items: the order and the log-probabilities of all items scored one by one."""
    settings = settings_of(make_config, p5_index="sequential")
    examples = examples_of(settings)
    network, epoch = network_of(settings, examples), examples.in_epoch(0)
    inputs = epoch.interaction(np.arange(3)).interaction
    inputs = {name: value for name, value in inputs.items() if name not in ("target", "decoded")}
    vocabulary = examples.vocabulary
    found = beam_search(network.decoder(**inputs), vocabulary.trie, 3, beams=ITEMS)
    expected = torch.empty(3, ITEMS, dtype=torch.float64)
    for row, item in itertools.product(range(3), range(ITEMS)):
        labels = torch.from_numpy(vocabulary.generated[item])
        decoded = torch.cat([torch.zeros(1, dtype=torch.int64), labels[:-1]])
        one = {name: value[row : row + 1] for name, value in inputs.items()}
        _, scores = network(**one, decoded=decoded[None])
        expected[row, item] = scores[0].log_softmax(dim=-1).gather(1, labels[:, None]).sum()
    order = expected.sort(dim=1, descending=True)
    assert found.item.tolist() == (order.indices + 1).tolist()
    torch.testing.assert_close(found.log_probability, order.values, rtol=0, atol=1e-6)


# settings


@pytest.mark.parametrize("clusters", [1, 5])
def test_more_clusters_than_tokens_are_refused(make_config: MakeConfig, clusters: int) -> None:
    with pytest.raises(ConfigError, match=rf"p5_clusters \[{clusters}\] must lie between 2 and p5_token_size \[4\]"):
        settings_of(make_config, p5_clusters=clusters)
