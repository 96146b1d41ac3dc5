"""New users without retraining: the best next items for histories of external tokens."""

import argparse
import json
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from logging import getLogger
from numbers import Integral
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from recbole_tslrec.compute.distributed import own_device
from recbole_tslrec.serving.approximate_items import ApproximateItems
from recbole_tslrec.serving.faults import Faults
from recbole_tslrec.serving.histories import FORM, History, given_histories, read_histories
from recbole_tslrec.serving.llm_models import load_llm_model
from recbole_tslrec.serving.model_export import check_output
from recbole_tslrec.serving.model_folder import add_model_folder, chosen_model_folder
from recbole_tslrec.serving.recall_sample import RecallSample
from recbole_tslrec.serving.saved_model import LLM_KINDS, SavedModel, check_knows_items_only, load_model
from recbole_tslrec.store.artifacts import open_artifact
from recbole_tslrec.store.files import written_whole

_OF_TABLES = (".csv", ".tsv", ".parquet", ".feather")
Recommendation = list[tuple[str, float]]  # item tokens and their scores, best first
BestItems = Callable[..., tuple[Tensor, Tensor]]  # as SavedModel.best


def recommend(
    model_folder: str | Path,
    histories: Mapping[str, Sequence[str]],
    k: int = 10,
    mask_history: bool = True,
    batch_size: int = 256,
    device: str | torch.device | None = None,
    skip_bad: bool = False,
    index: str | Path | None = None,
) -> dict[str, Recommendation]:
    """The k best next items of each user.

    Items that the model does not know are skipped and counted in a warning. If a history is longer than
    ``MAX_ITEM_LIST_LENGTH``, the model sees only the most recent items.

    Args:
        model_folder: a ``recommender`` or ``backbone`` artifact, or E4SRec's ``llm_task``, LlamaRec's ``ranker``.
        histories: for each user, the tokens of the items in time order.
        k: how many items to recommend.
        mask_history: whether to leave out the items of the history, including those that the model does not see.
        batch_size: number of users who are scored at once.
        device: where to compute; ``None`` takes a GPU if there is one.
        skip_bad: whether to leave out users whose history cannot be answered, and to count them in a warning.
        index: an index over the model's items (``export --format=ann``), which may miss some of the best.

    Returns:
        For each user item tokens and scores, best first.

    Raises:
        ArtifactError: the folder holds no trained model, or is damaged.
        ValueError: the model has an embedding per user; a user has no known item; k is more than there are items to
            choose from; the index is damaged or another model's. Nothing is computed then.
    """
    saved = load_for_new_users(model_folder, device)
    best = saved.best if index is None else ApproximateItems.read(Path(index), saved).best
    given = given_histories(histories)
    _, bad = check_histories(saved, given, k, mask_history, skip_bad)
    return dict(rank_items(saved, _without(given, bad), k, mask_history, batch_size, best))


def load_for_new_users(model_folder: str | Path, device: str | torch.device | None = None) -> SavedModel:
    """A saved model that knows items only.

    Raises:
        ArtifactError: the folder holds no trained model, or is damaged.
        ValueError: the model has an embedding per user, or names users otherwise.
        ImportError: the model is an LLM, and transformers or peft is not installed.
        LLMError: it cannot be loaded.
    """
    artifact = open_artifact(model_folder)
    if artifact.manifest["kind"] in LLM_KINDS:
        return load_llm_model(artifact, torch.device(device or own_device()))
    saved = load_model(model_folder, device or own_device())
    check_knows_items_only(saved)
    return saved


def check_histories(
    saved: SavedModel,
    histories: Iterable[History],
    k: int,
    mask_history: bool,
    skip_bad: bool = False,
    source: Path | None = None,
) -> tuple[int, set[int]]:
    """Look through all histories before anything is computed, and warn of unknown items.

    Args:
        saved: the model.
        histories: what users have done.
        k: how many items are asked for.
        mask_history: whether those of the history are left out.
        skip_bad: whether histories that cannot be answered are skipped, and counted in a warning.
        source: the file in which the histories stand.

    Returns:
        The number of all histories, and the places of those to skip among them, from 0.

    Raises:
        ValueError: a history cannot be answered, or a file has none; k is below 1, or more than there are items at all.
    """
    items = len(saved.item_tokens)
    if not isinstance(k, Integral) or not 1 <= int(k) <= items:
        raise ValueError(f"k [{k}] must be a whole number between 1 and the {items} items that {saved.name} knows")
    faults, bad, users = Faults(source, FORM), set(), set()
    total = unknown = 0
    first_unknown = ""
    for place, history in enumerate(histories):
        total += 1
        fault = history.fault or (
            "gives its user a second time" if history.user in users else _unanswerable(saved, history, k, mask_history)
        )
        if fault:
            faults.add(history.place, fault, is_of_form=bool(history.fault))
            bad.add(place)
            continue
        users.add(history.user)
        for token in history.items:
            if str(token) not in saved.id_of_item:
                unknown += 1
                first_unknown = first_unknown or f"{token!r} of {history.place}"
    if source and not total:
        raise ValueError(f"{source} has no histories; the form is {FORM}")
    faults.settle(total, skip_bad)
    if unknown:
        getLogger().warning(
            f"{unknown:,} items of the histories are unknown to {saved.name} and were skipped, the first is "
            f"{first_unknown}"
        )
    return total, bad


def _unanswerable(saved: SavedModel, history: History, k: int, mask_history: bool) -> str:
    """Why a history that could be read cannot be answered; empty where it can."""
    known = saved.item_ids(history.items)
    if not known:
        return (
            f"has no item that {saved.name} knows (items are named as the training data does, such as "
            f"{saved.item_tokens[0]!r})"
        )
    left = len(saved.item_tokens) - len(set(known))
    if mask_history and k > left:
        return (
            f"leaves fewer than k [{k}] items beside those of its history; lower k, or keep the history "
            "(mask_history=False, --keep_history)"
        )
    return ""


def _without(histories: Iterable[History], bad: Collection[int]) -> Iterator[History]:
    return (history for place, history in enumerate(histories) if place not in bad)


def rank_items(
    saved: SavedModel,
    histories: Iterable[History],
    k: int,
    mask_history: bool,
    batch_size: int,
    best: BestItems | None = None,
) -> Iterator[tuple[str, Recommendation]]:
    """The k best next items of histories that were checked, batch by batch; by ``best`` in the place of ``saved.best``.

    Raises:
        ValueError: ``batch_size`` is below 1.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be a whole number above 0, not [{batch_size}]")
    rows = iter(histories)
    while batch := list(islice(rows, batch_size)):
        known = [saved.item_ids(history.items) for history in batch]
        scores, items = (best or saved.best)(*item_sequences(saved, known), k, known if mask_history else None)
        for history, values, ids in zip(batch, scores.tolist(), items.tolist(), strict=True):
            yield history.user, [(saved.item_tokens[item - 1], value) for item, value in zip(ids, values, strict=True)]


def leave_out(scores: Tensor, histories: Sequence[Sequence[int]]) -> None:
    """Put the pad behind all items, [B, N + 1], and the items of histories, of which there may be none."""
    scores[:, 0] = -torch.inf
    lengths = torch.tensor([len(items) for items in histories], dtype=torch.int64)
    row = torch.arange(len(histories)).repeat_interleave(lengths)
    scores[row, torch.tensor(list(chain.from_iterable(histories)), dtype=torch.int64)] = -torch.inf


def score_histories(saved: SavedModel, histories: Sequence[Sequence[int]]) -> Tensor:
    """The scores of all items for histories of item ids 1..N, of which the most recent are seen, [B, N + 1]."""
    return saved.scores(*item_sequences(saved, histories))


def item_sequences(saved: SavedModel, histories: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """What a model sees of histories of item ids 1..N: the most recent, int64 [B, L], and how many, int64 [B]."""
    length = saved.max_length or max(map(len, histories))
    recent = [torch.tensor(items[-length:]) for items in histories]
    item_seq = torch.zeros(len(recent), length, dtype=torch.int64)
    for row, items in zip(item_seq, recent, strict=True):
        row[: len(items)] = items
    return item_seq, torch.tensor([len(items) for items in recent])


def recommend_file(
    model_folder: str | Path,
    source: Path,
    output: Path,
    k: int = 10,
    mask_history: bool = True,
    batch_size: int = 256,
    skip_bad: bool = False,
    index: Path | None = None,
) -> None:
    """:func:`recommend` from one file to another; JSON lines and parquet are never held in memory as a whole.

    Args:
        model_folder: a ``recommender`` or ``backbone`` artifact, or E4SRec's ``llm_task``, LlamaRec's ``ranker``.
        source: as in :func:`~recbole_tslrec.serving.histories.read_histories`.
        output: lines ``{"user": "u1", "items": [...], "scores": [...]}``, best first; put in place when complete.
        k: how many items to recommend.
        mask_history: whether to leave out the items of the history.
        batch_size: number of users who are scored at once.
        skip_bad: whether to leave out lines that cannot be answered, and to count them in a warning.
        index: as in :func:`recommend`; its recall of the exact best items, for a sample of users, is printed.

    Raises:
        ArtifactError: as :func:`recommend`.
        ValueError: as :func:`recommend`; a line of ``source`` is malformed or gives a user a second time (says which),
            or ``output`` cannot be written.
    """
    if output.suffix in _OF_TABLES:
        raise ValueError(f"{output} would hold JSON lines, and its name is that of a table; end it with .jsonl")
    check_output(output, Path(model_folder))
    if output.resolve() == source.resolve():
        raise ValueError(f"{output} is the input too, and would be lost; set another --output")
    saved = load_for_new_users(model_folder)
    best_items = saved.best if index is None else ApproximateItems.read(index, saved).best
    total, bad = check_histories(saved, read_histories(source), k, mask_history, skip_bad, source)
    sample, histories = RecallSample(total - len(bad)), _without(read_histories(source), bad)
    watched = histories if index is None else sample.watch(histories)
    ranked = rank_items(saved, watched, k, mask_history, batch_size, best_items)
    with written_whole(output) as temporary, temporary.open("w", encoding="utf-8") as file:
        for user, best in tqdm(ranked, "Recommend", total - len(bad), unit="user", disable=not sys.stderr.isatty()):
            line: dict[str, Any] = {
                "user": user,
                "items": [item for item, _ in best],
                "scores": [score for _, score in best],
            }
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
            sample.add(user, line["items"])
    if index is not None:
        exact = rank_items(saved, sample.histories, k, mask_history, batch_size)
        recall = sample.recall((user, [item for item, _ in best]) for user, best in exact)
        sys.stdout.write(f"recall@{k} of the index: {recall:.4f}, over {len(sample.histories):,} of the users\n")


def main(argv: Sequence[str]) -> None:
    """``python -m recbole_tslrec recommend``: from histories in a file to recommendations in another."""
    parser = argparse.ArgumentParser(
        prog="python -m recbole_tslrec recommend",
        description="Recommend the best next items to users, given their histories.",
        allow_abbrev=False,
    )
    add_model_folder(parser, "the folder of a trained model: recommender-... or backbone-...")
    parser.add_argument(
        "--input",
        required=True,
        type=Path,
        help=f"a file with lines {FORM}",
    )
    parser.add_argument("--output", required=True, type=Path, help='lines {"user": ..., "items": ..., "scores": ...}')
    parser.add_argument("--k", type=int, default=10, help="items per user (default: 10)")
    parser.add_argument("--keep_history", action="store_true", help="also recommend items of the user's own history")
    parser.add_argument(
        "--skip_bad", action="store_true", help="leave out lines that cannot be answered, and count them"
    )
    parser.add_argument(
        "--index", type=Path, help="an index of export --format=ann, for a large catalogue; its recall is printed"
    )
    parser.add_argument("--batch_size", type=int, default=256, help="users who are scored at once (default: 256)")
    given = parser.parse_args(argv)
    recommend_file(
        chosen_model_folder(given.model_folder),
        given.input,
        given.output,
        given.k,
        not given.keep_history,
        given.batch_size,
        given.skip_bad,
        given.index,
    )
    sys.stdout.write(f"{given.output}\n")
