"""RecBole's metrics from ranks: over all users, and of each user."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from recbole.evaluator.collector import DataStruct
from recbole.evaluator.register import metric_information, metrics_dict

from recbole_tslrec.sequential.ranking import hits
from recbole_tslrec.settings import ConfigError, derive


def needs_ranks_only(metric: str) -> bool:
    """Whether a metric of RecBole (its name in any case) can be had from the rank of one target a row."""
    return list(metric_information[metric.lower()]) == ["rec.topk"]


def check_cut_offs(config: Any, items: int) -> None:
    """Refuse lists longer than all items, which RecBole cannot make; metrics that need ranks only need no lists.

    Raises:
        ConfigError: ``topk`` is above the number of items.
    """
    of_lists = [metric for metric in config["metrics"] if not needs_ranks_only(metric)]
    if of_lists and max(config["topk"]) > items:
        raise ConfigError(
            f"topk {config['topk']} is above the {items:,} items of [{config['dataset']}], and metric [{of_lists[0]}] "
            "needs lists of that length; lower it, or leave the metric out"
        )


def smaller_is_better(metric: str) -> bool:
    """Whether a metric of RecBole, such as ``giniindex@10``, is the better the smaller it is."""
    return bool(metrics_dict[metric.lower().partition("@")[0]].smaller)


def figures(config: Any, ranks: NDArray[np.int64]) -> dict[str, float]:
    """Those of the configured metrics that need ranks only, by RecBole's own classes.

    Args:
        config: ``metrics``, ``topk`` and ``metric_decimal_place`` count.
        ranks: from 1, int64 [R].

    Returns:
        By RecBole's names, such as ``ndcg@10``; nothing without a row.
    """
    metrics = [metrics_dict[name.lower()](config) for name in config["metrics"] if needs_ranks_only(name)]
    found: dict[str, float] = {}
    if len(ranks):
        collected = DataStruct()
        collected.set("rec.topk", hits(torch.from_numpy(ranks), max(config["topk"])))  # [R, longest list + 1]
        for metric in metrics:
            found.update({name: float(value) for name, value in metric.calculate_metric(collected).items()})
    return found


def figures_of_rows(config: Any, ranks: NDArray[np.int64]) -> dict[str, NDArray[np.float32]]:
    """The same figures of each row alone, not rounded: float32 [R] each.

    A row's figure depends on its rank alone, so each rank's is computed once.
    """
    whole = derive(config, metric_decimal_place=9)
    missed = max(config["topk"]) + 1  # and beyond
    by_rank = [figures(whole, np.array([rank])) for rank in range(1, missed + 1)]
    column = np.minimum(ranks, missed) - 1
    return {name: np.array([of[name] for of in by_rank], np.float32)[column] for name in by_rank[0]}


def in_order(names: Iterable[str]) -> list[str]:
    """Metric names in the order of the paper's tables: HR first, then by name, cut-offs as they come."""
    return sorted(names, key=lambda name: (not name.startswith("hit"), name.split("@")[0]))


def label(name: str) -> str:
    """A metric as the paper writes it: ``hit@5`` is HR@5."""
    return name.upper().replace("HIT", "HR")
