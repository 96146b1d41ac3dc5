"""What the examples of a step look like to the network."""

from dataclasses import replace

import numpy as np

from recbole_tslrec.data.histories import Histories
from recbole_tslrec.reconstruction.examples import user_examples
from recbole_tslrec.sft.examples import ITEM_SEQ, ITEM_SEQ_LEN, TARGET, Examples
from tests.sft.tasks import HISTORIES, TARGETS, UNEVEN


def examples(histories: Histories, max_items: int) -> Examples:
    return user_examples(histories, TARGETS, max_items, batch_size=4, seed=0)


def test_an_example_is_the_most_recent_items_and_the_target() -> None:
    interaction = examples(HISTORIES, 2).interaction(np.array([1]))
    assert interaction[ITEM_SEQ].tolist() == [[5, 6]]  # user 1 has 4, 5, 6
    assert interaction[ITEM_SEQ_LEN].tolist() == [2]
    assert interaction[TARGET].tolist() == [[0, 1, 0, 0]]


def test_pads_lie_behind_the_items_of_shorter_histories() -> None:
    interaction = examples(UNEVEN, 3).interaction(np.array([1, 0, 3]))
    assert interaction[ITEM_SEQ].tolist() == [[2, 3, 0], [1, 0, 0], [8, 1, 2]]  # of 2 3, of 1, of 7 8 1 2
    assert interaction[ITEM_SEQ_LEN].tolist() == [2, 1, 3]
    assert interaction[TARGET].argmax(dim=1).tolist() == [1, 0, 3]


def test_the_fingerprint_is_of_the_chosen_prompts_and_targets() -> None:
    whole = examples(HISTORIES, 2)
    assert whole.fingerprint == examples(HISTORIES, 2).fingerprint
    others = (
        replace(whole, chosen=np.arange(11)),
        replace(whole, items=whole.items[::-1].copy()),
        replace(whole, targets=TARGETS.flip(0)),
    )
    assert len({whole.fingerprint, *(each.fingerprint for each in others)}) == 4
