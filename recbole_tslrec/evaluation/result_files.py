"""The files of an evaluation: the metrics in each history mode, and a table by user for each part.

``metrics.json`` has ``{part: {mode: {metric: value}}}`` for the parts ``valid`` and ``test``, and under ``targets`` the
same for two kinds of users: those whose target is in their history (``repeat``) and the others (``explore``), with
their number: ``{part: {kind: {"users": number, mode: {metric: value}}}}``.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from recbole.data.dataloader import FullSortEvalDataLoader

from recbole_tslrec.compute import distributed
from recbole_tslrec.data.dataset import Data
from recbole_tslrec.evaluation.held_out import PARTS, HeldOut, held_out
from recbole_tslrec.evaluation.history_modes import UNMASKED, Ranks
from recbole_tslrec.evaluation.metrics import figures, figures_of_rows, needs_ranks_only
from recbole_tslrec.evaluation.per_user import UserResults, write_users
from recbole_tslrec.store.files import write_json

METRICS = "metrics.json"
TARGETS = "targets"
Ranker = Callable[[HeldOut], Ranks]
ByMode = dict[str, NDArray[np.int64]]


def users_file(part: str) -> str:
    """The name of the table by user of a part."""
    return f"{part}_users.parquet"


def write_evaluation(
    folder: Path,
    config: Any,
    data: Data,
    row: str,
    rank: Ranker,
    recbole: Callable[[Any], dict[str, float]] | None = None,
) -> None:
    """Rank the held-out items and write what comes out; of several processes the main one writes.

    Args:
        folder: an existing folder.
        config: the configuration of the model, or with the row's name as ``model``.
        data: the dataset.
        row: the row's name in a table, such as ``TSLRec``.
        rank: gives the ranks of a part's targets.
        recbole: gives RecBole's metrics of a loader, for those that need more than ranks and for sampled evaluation.
            Such metrics are there in the mode ``unmasked`` only.
    """
    metrics: dict[str, Any] = {TARGETS: {}}
    for part in PARTS:
        rows = held_out(data, part)
        beyond = recbole(rows.loader) if recbole and not _ranks_suffice(config, rows.loader) else {}
        if not isinstance(rows.loader, FullSortEvalDataLoader):
            metrics[part] = {UNMASKED: beyond}
            continue
        ranks = rank(rows).by_mode(rows.repeat, rows.item_count, max(config["topk"]))
        if not distributed.is_main():
            continue
        metrics[part] = _by_mode(config, ranks)
        metrics[part][UNMASKED] = {**beyond, **metrics[part][UNMASKED]}
        metrics[TARGETS][part] = _by_target(config, ranks, rows.repeat)
        users = UserResults(_frame(config, data, rows, ranks), _about(config, data, row, part))
        write_users(folder / users_file(part), users)
    if distributed.is_main():
        write_json(folder / METRICS, metrics)


def _ranks_suffice(config: Any, loader: Any) -> bool:
    return isinstance(loader, FullSortEvalDataLoader) and all(map(needs_ranks_only, config["metrics"]))


def _by_mode(config: Any, ranks: ByMode) -> dict[str, dict[str, float]]:
    return {mode: figures(config, of_mode) for mode, of_mode in ranks.items()}


def _by_target(config: Any, ranks: ByMode, repeat: NDArray[np.bool_]) -> dict[str, dict[str, Any]]:
    found = {}
    for kind, chosen in (("repeat", repeat), ("explore", ~repeat)):
        of_kind = {mode: of_mode[chosen] for mode, of_mode in ranks.items()}
        found[kind] = {"users": int(chosen.sum()), **_by_mode(config, of_kind)}
    return found


def _frame(config: Any, data: Data, rows: HeldOut, ranks: ByMode) -> pd.DataFrame:
    columns: dict[str, Any] = {
        "user_id": rows.user_tokens,
        "item_id": np.array(data.item_tokens, dtype=object)[rows.target - 1],
        **{f"rank_{mode}": of_mode for mode, of_mode in ranks.items()},
        "sequence_length": rows.sequence_length,
        "target_popularity": rows.popularity[rows.target],
        "repeat": rows.repeat,
    }
    for mode, of_mode in ranks.items():
        columns.update({f"{name}_{mode}": values for name, values in figures_of_rows(config, of_mode).items()})
    return pd.DataFrame(columns)


def _about(config: Any, data: Data, row: str, part: str) -> dict[str, Any]:
    return {
        "dataset": data.description["name"],
        "fingerprint": data.description["fingerprint"],
        "model": config["model"],
        "row": row,
        "seed": config["seed"],
        "part": part,
        "topk": list(config["topk"]),
        "items": data.description["items"],
    }
