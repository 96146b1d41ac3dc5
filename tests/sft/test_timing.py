"""Contenders take turns, so that a slow moment of the machine meets all of them."""

import torch

from recbole_tslrec.sft.timing import fastest, interleaved

CPU = torch.device("cpu")


def test_rounds_are_interleaved_and_every_other_one_goes_backwards() -> None:
    order: list[str] = []
    runs = {name: lambda name=name: order.append(name) for name in "ab"}
    interleaved(runs, rounds=2, device=CPU)
    assert order == [*"ab", *"ab", *"ba"]  # the first round does not count


def test_the_fastest_of_two_runs_counts() -> None:
    work = {"long": 3_000_000, "short": 30_000}
    assert fastest({name: lambda count=count: sum(range(count)) for name, count in work.items()}, CPU) == "short"
