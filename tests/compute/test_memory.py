"""What a finished stage has left behind is freed."""

import gc
import weakref

import psutil
import torch
from torch import nn

from recbole_tslrec.compute.memory import collect_leftovers, free_memory


def test_a_network_in_a_reference_cycle_is_freed() -> None:
    network = nn.Linear(2, 2)
    network.trainer = [network]
    reference = weakref.ref(network)
    gc.disable()
    try:
        del network
        assert reference() is not None
        collect_leftovers()
        assert reference() is None
    finally:
        gc.enable()


def test_free_memory_of_a_cpu_is_the_systems() -> None:
    found, whole = free_memory("cpu"), psutil.virtual_memory().total
    assert 0 < found < whole
    assert not torch.cuda.is_initialized()
