"""What a small T5 of random weights learns in some seconds."""

import numpy as np

from recbole_tslrec.baselines.next_items import Instances, NextItems
from recbole_tslrec.data.histories import Histories

LEARNING = {
    "scratch_hidden_size": 64,
    "scratch_heads": 4,
    "scratch_layers": 1,
    "scratch_intermediate_size": 64,
    "sft_epochs": 20,
    "sft_stopping_step": 20,
    "sft_learning_rate": 5e-3,
    "sft_batch_size": 16,
    "beams": 3,
}


def walks(users: int, items: int) -> tuple[Histories, Instances]:
    """Histories of four items, each followed by the next number, and what follows them."""
    first = np.random.default_rng(0).integers(0, items, users)
    flat = np.concatenate(first[:, None] + np.arange(4)) % items + 1
    histories = Histories([f"u{user}" for user in range(users)], flat, np.arange(users + 1) * 4)
    target = flat[histories.offsets[1:] - 1] % items + 1
    rows = NextItems(histories.items, histories.offsets[:-1], histories.offsets[1:], target)
    return histories, Instances(np.arange(users), rows)
