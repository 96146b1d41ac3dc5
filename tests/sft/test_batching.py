"""Which users make a step, and how a step is cut into micro-batches."""

from collections import Counter

import numpy as np
import pytest

from recbole_tslrec.llm.settings import LAYOUTS, PADDED, PREFIX_ROW
from recbole_tslrec.sft.batching import MicroBatch, TokenBudget, plan_steps, split_step

LENGTHS = np.random.default_rng(0).integers(3, 40, size=101)
USERS = np.arange(101)[np.arange(101) % 7 != 0]  # 86 of them


# a budget


@pytest.mark.parametrize(
    ("layout", "tokens", "lengths", "ends"),
    [
        (PREFIX_ROW, 20, [4, 5, 6, 7], [3, 4]),  # 5 + 4 + 5 + 6 is just 20
        (PREFIX_ROW, 12, [3, 4, 5], [2, 3]),  # 5 + 3 + 4 is just 12
        (PREFIX_ROW, 11, [3, 4, 5], [1, 2, 3]),
        (PREFIX_ROW, 1, [3, 3], [1, 2]),  # a user alone may have more
        (PREFIX_ROW, 1000, [3, 4, 5], [3]),
        (PADDED, 20, [4, 5, 6, 7], [2, 3, 4]),  # 2 x (5 + 5); 3 x (5 + 6) would be 33, and 2 x (5 + 7) 24
        (PADDED, 24, [4, 5, 6, 7], [2, 4]),
        (PADDED, 1, [3, 3], [1, 2]),
        (PADDED, 1000, [3, 4, 5], [3]),
        (PREFIX_ROW, 10, [], []),
        (PADDED, 10, [], []),
    ],
)
def test_cuts_by_hand(layout: str, tokens: int, lengths: list[int], ends: list[int]) -> None:
    """The instruction has 5 tokens: a row holds it once, a padded prompt each time."""
    assert TokenBudget(tokens, 5, layout).cut(np.array(lengths, dtype=np.int64)) == ends


# the steps of an epoch


def steps(seed: int = 0, epoch: int = 0, batch_size: int = 4) -> list[list[int]]:
    return [step.tolist() for step in plan_steps(LENGTHS, USERS, batch_size, seed, epoch)]


@pytest.mark.parametrize("batch_size", [1, 4, 86, 100])
@pytest.mark.parametrize("epoch", [0, 1])
def test_every_user_is_trained_on_once_an_epoch(batch_size: int, epoch: int) -> None:
    found = steps(epoch=epoch, batch_size=batch_size)
    assert sorted(user for step in found for user in step) == USERS.tolist()


def test_steps_are_of_the_configured_size_but_for_one() -> None:
    """86 = 21 x 4 + 2."""
    assert Counter(len(step) for step in steps()) == {4: 21, 2: 1}


def test_the_same_seed_and_epoch_give_the_same_steps() -> None:
    assert steps(seed=3, epoch=2) == steps(seed=3, epoch=2)


def test_another_seed_or_epoch_gives_other_steps() -> None:
    assert steps(seed=3, epoch=2) != steps(seed=4, epoch=2)
    assert steps(seed=3, epoch=2) != steps(seed=3, epoch=3)


def test_users_of_a_step_are_of_about_one_length() -> None:
    """32 users of 32 different lengths are one window of eight steps of four: each has four lengths in a row."""
    lengths = np.random.default_rng(1).permutation(32)
    found = [sorted(lengths[step].tolist()) for step in plan_steps(lengths, np.arange(32), 4, seed=0, epoch=0)]
    assert sorted(found) == [list(range(start, start + 4)) for start in range(0, 32, 4)]
    assert found != sorted(found)  # but long and short steps take turns


def test_users_of_one_length_meet_others_in_every_epoch() -> None:
    """Only length is sorted by; who is together with whom is left to chance."""
    lengths = np.full(32, 5)
    together = [
        {frozenset(step.tolist()) for step in plan_steps(lengths, np.arange(32), 4, 0, epoch)} for epoch in (0, 1)
    ]
    assert not together[0] & together[1]


# the micro-batches of a step

STEP = np.array([90, 3, 41, 17, 64, 8, 22])
SPLITS = [
    (layout, tokens, processes)
    for layout in LAYOUTS
    for tokens in (1, 60, 10_000)
    for processes in (1, 2, 3, 5, 9)  # nine: more than users
]


def split(layout: str, tokens: int, processes: int) -> list[list[MicroBatch]]:
    """For each process its micro-batches."""
    budget = TokenBudget(tokens, 5, layout)
    return [split_step(STEP, LENGTHS[STEP], budget, processes, rank) for rank in range(processes)]


def real(shares: list[list[MicroBatch]]) -> list[MicroBatch]:
    """Those that are no fillers."""
    return [micro_batch for share in shares for micro_batch in share if micro_batch.weights.any()]


@pytest.mark.parametrize(("layout", "tokens", "processes"), SPLITS)
def test_every_user_of_a_step_is_in_one_micro_batch_of_one_process(layout: str, tokens: int, processes: int) -> None:
    users = [user for micro_batch in real(split(layout, tokens, processes)) for user in micro_batch.examples.tolist()]
    assert sorted(users) == sorted(STEP.tolist())


@pytest.mark.parametrize(("layout", "tokens", "processes"), SPLITS)
def test_each_user_weighs_the_same_and_all_together_one(layout: str, tokens: int, processes: int) -> None:
    shares = split(layout, tokens, processes)
    weights = np.concatenate([micro_batch.weights for share in shares for micro_batch in share])
    assert set(weights.tolist()) <= {0.0, 1 / 7}
    assert weights.sum() == pytest.approx(1)


@pytest.mark.parametrize(("layout", "tokens", "processes"), SPLITS)
def test_all_processes_have_equally_many_micro_batches(layout: str, tokens: int, processes: int) -> None:
    """Otherwise one would wait for gradients that another never sends."""
    counts = {len(share) for share in split(layout, tokens, processes)}
    assert len(counts) == 1
    assert counts.pop() > 0


@pytest.mark.parametrize(("layout", "tokens", "processes"), SPLITS)
def test_no_micro_batch_is_larger_than_the_budget_but_for_a_single_user(
    layout: str, tokens: int, processes: int
) -> None:
    for users, _ in real(split(layout, tokens, processes)):
        lengths = LENGTHS[users]
        size = len(users) * (5 + lengths.max()) if layout == PADDED else 5 + lengths.sum()
        assert size <= tokens or len(users) == 1


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_process_without_users_gets_one_that_weighs_nothing(layout: str) -> None:
    """Seven users, nine processes: the last two have none of their own."""
    shares = split(layout, 10_000, 9)
    assert [len(share) for share in shares] == [1] * 9
    for share in shares[7:]:
        (filler,) = share
        assert filler.weights.tolist() == [0]
        assert filler.examples[0] in STEP


def test_processes_get_about_equally_many_tokens() -> None:
    """Lengths 1 to 7 are dealt out in turn: 1 3 5 7 and 2 4 6."""
    lengths = np.arange(1, 8)
    budget = TokenBudget(1000, 5, PREFIX_ROW)
    shares = [split_step(np.arange(7), lengths, budget, 2, rank)[0].examples for rank in range(2)]
    assert [lengths[share].tolist() for share in shares] == [[1, 3, 5, 7], [2, 4, 6]]
