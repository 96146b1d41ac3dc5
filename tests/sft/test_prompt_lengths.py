"""How many prompts an epoch has, how long they are, and a sample of them."""

import numpy as np

from recbole_tslrec.sft.cost import instance_segments
from recbole_tslrec.sft.prompt_lengths import PromptLengths, sample


def test_instances_are_one_an_interaction_but_the_first() -> None:
    data = PromptLengths(users=2, items=9, history=np.array([2, 4]), max_items=50)
    assert sorted(data.instance_items) == [1, 1, 2, 3]
    assert sorted(data.instance_items + 2) == sorted(instance_segments(data.history, 50, response=2))
    capped = PromptLengths(users=1, items=9, history=np.array([6]), max_items=2)
    assert capped.instance_items.tolist() == [2, 2]  # the two most recent targets, two items before each


def test_a_sample_has_the_mean_of_its_population() -> None:
    population = np.random.default_rng(0).geometric(0.2, 20_000)
    assert abs(sample(population, 256).mean() / population.mean() - 1) < 0.01
