"""What grows with the catalogue or the users: each a function that measures on a CPU and gives one figure.

CPU seconds of this process, the best of some rounds in turns, since another process may be busy.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np
import torch

from recbole_tslrec.configuration.properties import model_keys, own_defaults
from recbole_tslrec.sequential import ranking
from recbole_tslrec.serving.histories import History
from recbole_tslrec.serving.recommend import rank_items
from recbole_tslrec.serving.saved_model import ModelFiles, SavedModel
from recbole_tslrec.sft.batching import TokenBudget, split_step

ITEMS, DIMENSION = 300_000, 64
_FORMER = ranking.Portions(2**24, 2**18, 2**18)  # what ranking took on every device, before the cache counted
_LENGTH = 50  # L of the model in use
SASREC: Mapping[str, Any] = {
    "n_layers": 2,
    "n_heads": 2,
    "hidden_size": DIMENSION,
    "inner_size": 256,
    "hidden_dropout_prob": 0.5,
    "attn_dropout_prob": 0.5,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "initializer_range": 0.02,
}


def ranking_vs_fixed_chunks(items: int = ITEMS, users: int = 256, rounds: int = 5) -> float:
    """Seconds of ranking with the former fixed chunks over those with chunks that fit the cache.

    Args:
        items: N.
        users: whose targets are ranked.
        rounds: that are timed.
    """
    rank = _ranking(items, users)

    def former() -> None:
        with mock.patch.dict(ranking._PORTIONS, {"cpu": _FORMER}):
            rank()

    seconds = _least({"former": former, "now": rank}, rounds)
    return seconds["former"] / seconds["now"]


def ranking_throughput(items: int = ITEMS, users: int = 256, rounds: int = 5) -> float:
    """Users a CPU second whose target is ranked among all items (d = 64), without the network that encodes them.

    Args:
        items: N.
        users: whose targets are ranked.
        rounds: that are timed.
    """
    with _one_thread():
        return users / _least({"rank": _ranking(items, users)}, rounds)["rank"]


def _ranking(items: int, users: int) -> Callable[[], object]:
    random = torch.Generator().manual_seed(0)
    table, query = torch.randn(items + 1, DIMENSION, generator=random), torch.randn(users, DIMENSION, generator=random)
    target = torch.randint(1, items + 1, (users,), generator=random)
    return lambda: ranking.ranks_by_table(query, table, target)


def sft_split_growth(few: int = 100_000, many: int = 10_000_000, batch_size: int = 64, rounds: int = 20) -> float:
    """Seconds of splitting steps of an epoch with many users over those with few; 1 is no growth.

    Args:
        few: users.
        many: users.
        batch_size: of a step.
        rounds: that are timed, of 100 steps each.
    """
    budget = TokenBudget(tokens=4096, prefix=24, layout="prefix_row")
    random = np.random.default_rng(0)

    def steps(users: int) -> Callable[[], None]:
        lengths = random.integers(3, 60, users)
        drawn = random.integers(users, size=(100, batch_size))

        def split() -> None:
            for examples in drawn:
                split_step(examples, lengths[examples], budget)

        return split

    seconds = _least({"few": steps(few), "many": steps(many)}, rounds)
    return seconds["many"] / seconds["few"]


def recommend_throughput(items: int = ITEMS, users: int = 1024, length: int = 10, rounds: int = 3) -> float:
    """Users a CPU second of ``recommend``'s loop: histories of tokens in, ten items of SASRec (d = 64) out.

    Args:
        items: N.
        users: new ones.
        length: items of each history.
        rounds: that are timed.
    """
    saved = random_model(items)
    drawn = np.random.default_rng(0).integers(items, size=(users, length))
    histories = [
        History("", f"u{user}", [saved.item_tokens[item] for item in row]) for user, row in enumerate(drawn.tolist())
    ]

    def run() -> None:
        for _ in rank_items(saved, histories, k=10, mask_history=True, batch_size=256):
            pass

    with _one_thread():
        return users / _least({"recommend": run}, rounds)["recommend"]


def random_model(items: int) -> SavedModel:
    """A SASRec in use, its weights as they were drawn."""
    defaults = own_defaults("SASRec", "")
    settings = {**{key: defaults.get(key) for key in model_keys("SASRec")}, **SASREC, **_FIELDS}
    description = {
        "model": "SASRec",
        "settings": settings,
        "user_field": "user_id",
        "item_field": "item_id",
        "counts": {"user_id": 2, "item_id": items + 1},
        "types": {"user_id": "token", "item_id": "token"},
        "preloaded": {},
    }
    files = ModelFiles(description, [f"i{item}" for item in range(items)], {}, {})
    _, model = files._untrained("cpu")
    return ModelFiles(description, files.item_tokens, {}, model.state_dict()).build()


_FIELDS = {
    "seed": 2020,
    "train_mode": "prefix",
    "loss_type": "CE",
    "MAX_ITEM_LIST_LENGTH": _LENGTH,
    "LIST_SUFFIX": "_list",
    "USER_ID_FIELD": "user_id",
    "ITEM_ID_FIELD": "item_id",
    "ITEM_LIST_LENGTH_FIELD": "item_length",
    "NEG_PREFIX": "neg_",
    "transform": None,
    "prefixes_per_user": None,
}


def _least(runs: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """CPU seconds of each, the least of some rounds in turns; the first round does not count."""
    least: dict[str, float] = {}
    for number in range(rounds + 1):
        for name, run in runs.items():
            start = time.process_time()
            run()
            spent = time.process_time() - start
            if number:
                least[name] = min(spent, least.get(name, spent))
    return least


@contextmanager
def _one_thread() -> Iterator[None]:
    """Threads that wait for each other spend CPU time too."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
