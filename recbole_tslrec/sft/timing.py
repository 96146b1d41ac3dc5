"""How long something takes: contenders take turns, and the median counts."""

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

import torch

Name = TypeVar("Name")


def synchronize(device: torch.device) -> None:
    """Wait until a device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds(run: Callable[[], object], device: torch.device) -> float:
    """How long one run takes, until the device is done."""
    synchronize(device)
    started = time.perf_counter()
    run()
    synchronize(device)
    return time.perf_counter() - started


def interleaved(
    contenders: Mapping[str, Callable[[], object]], rounds: int, device: torch.device, warm_up: bool = True
) -> dict[str, float]:
    """The median seconds of each contender.

    Every round runs each contender once, so that a machine that slows down slows all of them; every other round goes
    backwards, so that none always follows the same one.

    Args:
        contenders: what to run, by name.
        rounds: that count.
        device: on which they run.
        warm_up: whether to run a round first that does not count.
    """
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    if warm_up:
        for run in contenders.values():
            run()
    for number in range(rounds):
        gc.collect()  # rather than while the clock runs
        names = list(contenders) if number % 2 == 0 else list(reversed(list(contenders)))
        for name in names:
            taken[name].append(seconds(contenders[name], device))
    return {name: statistics.median(times) for name, times in taken.items()}


def fastest(contenders: Mapping[Name, Callable[[], object]], device: torch.device) -> Name:
    """The name of the contender with the shortest of two runs: for choosing a rival's best batch size."""
    taken = {name: min(seconds(run, device) for _ in range(2)) for name, run in contenders.items()}
    return min(taken, key=lambda name: taken[name])
