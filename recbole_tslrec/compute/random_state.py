"""Random numbers whose drawing changes no others."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def isolated_random_state(seed: int) -> Iterator[None]:
    """Draw CPU random numbers from ``seed``; afterwards torch's streams go on as if nothing had been drawn."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would reseed the GPUs too, and for good
        yield
