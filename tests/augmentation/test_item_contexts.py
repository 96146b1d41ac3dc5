"""Items in the histories of users: which users, how much of a history, and in which batches."""

import numpy as np
import pytest

from recbole_tslrec.augmentation import item_contexts
from recbole_tslrec.augmentation.item_contexts import ItemContexts, sample_contexts
from recbole_tslrec.data.histories import Histories

# user 0: 1 2 3; user 1: 2 1 2 4; user 2: 2; nobody has item 5
HISTORIES = Histories(["a", "b", "c"], np.array([1, 2, 3, 2, 1, 2, 4, 2]), np.array([0, 3, 7, 8]))


def prompts_of(contexts: ItemContexts, item: int) -> list[list[int]]:
    start, stop = contexts.offsets[item - 1 : item + 1]
    slices = zip(contexts.starts[start:stop], contexts.ends[start:stop], strict=True)
    return sorted(contexts.items[first:end].tolist() for first, end in slices)


def test_a_prompt_is_a_history_up_to_the_last_occurrence() -> None:
    contexts = sample_contexts(HISTORIES, 5, max_items=10, seed=0)
    assert prompts_of(contexts, 1) == [[1], [2, 1]]
    assert prompts_of(contexts, 2) == [[1, 2], [2], [2, 1, 2]]
    assert prompts_of(contexts, 3) == [[1, 2, 3]]
    assert prompts_of(contexts, 4) == [[2, 1, 2, 4]]


def test_an_item_that_nobody_has_stands_alone() -> None:
    assert prompts_of(sample_contexts(HISTORIES, 5, max_items=10, seed=0), 5) == [[5]]


def test_a_prompt_keeps_the_most_recent_items() -> None:
    contexts = sample_contexts(HISTORIES, 5, max_items=2, seed=0)
    assert prompts_of(contexts, 2) == [[1, 2], [1, 2], [2]]
    assert prompts_of(contexts, 4) == [[2, 4]]


def test_users_are_sampled_without_repetition(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of five users has another item before item 6; three are taken, not always the same."""
    monkeypatch.setattr(item_contexts, "CONTEXT_USERS", 3)
    items = np.array([1, 6, 2, 6, 3, 6, 4, 6, 5, 6])
    histories = Histories(list("abcde"), items, np.arange(0, 11, 2))
    seen = set()
    for seed in range(40):
        prompts = prompts_of(sample_contexts(histories, 6, max_items=10, seed=seed), 6)
        assert len({before for before, _ in prompts}) == 3
        seen |= {before for before, _ in prompts}
        again = sample_contexts(histories, 6, max_items=10, seed=seed)
        assert prompts_of(again, 6) == prompts
    assert seen == {1, 2, 3, 4, 5}


def test_batches_hold_every_prompt_once_and_few_items() -> None:
    """Prompts of the items 2 to 4: one of 1 item, one of 2, two of 3 and one of 4."""
    contexts = sample_contexts(HISTORIES, 5, max_items=10, seed=0)
    batches = list(contexts.batches(1, 4, batch_size=5))
    assert [batch.counts.tolist() for batch in batches] == [[1, 2], [3], [3], [4]]
    assert contexts.counts(1, 4).tolist() == [3, 1, 1]
    found = []
    for batch in batches:
        found += [part.tolist() for part in batch.items.split(batch.counts.tolist())]
        assert batch.exported.tolist() == [part[-1] for part in found[-len(batch.counts) :]]
    assert sorted(found) == [[1, 2], [1, 2, 3], [2], [2, 1, 2], [2, 1, 2, 4]]


def test_a_prompt_longer_than_a_batch_goes_alone() -> None:
    contexts = sample_contexts(HISTORIES, 5, max_items=10, seed=0)
    assert [batch.counts.tolist() for batch in contexts.batches(3, 5, batch_size=1)] == [[1], [4]]
