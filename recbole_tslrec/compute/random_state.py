"""Random numbers: drawn so that no others change, and their state, to go on with later."""

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


@contextmanager
def isolated_random_state(seed: int) -> Iterator[None]:
    """Draw CPU random numbers from ``seed``; afterwards torch's streams go on as if nothing had been drawn."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would reseed the GPUs too, and for good
        yield


def random_state() -> dict[str, Any]:
    """The state of torch's, numpy's and Python's streams, as tensors, numbers and tuples.

    Of GPUs it is the present one's alone: asking the others would take memory of each, and they are of other processes.
    """
    name, keys, position, has_gauss, gauss = np.random.get_state()
    return {
        "torch": torch.get_rng_state(),
        "cuda": [torch.cuda.get_rng_state()] if torch.cuda.is_available() else [],
        "numpy": (name, torch.from_numpy(np.asarray(keys, dtype=np.int64)), position, has_gauss, gauss),
        "python": random.getstate(),
    }


def set_random_state(state: Mapping[str, Any]) -> None:
    """Let the streams go on from a state of :func:`random_state`."""
    name, keys, *rest = state["numpy"]
    torch.set_rng_state(state["torch"])
    for of_gpu in state["cuda"] if torch.cuda.is_available() else ():
        torch.cuda.set_rng_state(of_gpu)
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
    random.setstate(state["python"])
