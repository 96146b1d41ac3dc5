"""Cold items: the ranks of items that training never saw and that are added to the trained model by their vectors."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recbole_tslrec.augmentation.projection import KnowledgeProjection
from recbole_tslrec.augmentation.vector_rows import VectorsError
from recbole_tslrec.augmentation.vectors import ItemVectors, read_vectors
from recbole_tslrec.compute.distributed import own_device
from recbole_tslrec.data.dataset import Data
from recbole_tslrec.evaluation.metrics import figures_of_rows, label
from recbole_tslrec.evaluation.per_user import shares_of_users
from recbole_tslrec.evaluation.significance import interval, paired
from recbole_tslrec.experiments.command import Command
from recbole_tslrec.experiments.jobs import trials_of
from recbole_tslrec.experiments.new_items import (
    NewItemCases,
    Ranks,
    check_knows_items_only,
    check_vectors_given,
    hold_out,
    new_item_ranks,
    vector_ranks,
    without_new_items,
)
from recbole_tslrec.experiments.protocol import quoted_protocol
from recbole_tslrec.experiments.runner import outcomes
from recbole_tslrec.experiments.trials import Outcome
from recbole_tslrec.report.page import Page, ReportError, Section, best_and_second
from recbole_tslrec.serving.new_items import NewItems
from recbole_tslrec.serving.new_rows import with_new_items
from recbole_tslrec.serving.new_vectors import place_new_vectors
from recbole_tslrec.serving.saved_model import ModelFiles, open_model_folder
from recbole_tslrec.settings import derive

ROWS = ("Base", "TSLRec")
METRIC = "NDCG@10"
AMONG = ("all", "new")  # candidates: all items but those of the history, and the new ones alone
BASE, NEAREST, MEAN, VECTORS = "Base, nearest", "TSLRec, nearest", "TSLRec, mean", "vectors alone"
Values = dict[str, NDArray[np.float64]]
ABOUT = {
    BASE: "no knowledge; the ID row of a new item comes from the known items that are nearest by their vectors",
    NEAREST: "the vectors are fused, and the ID part comes from the nearest items: extend --vectors",
    MEAN: "the same, but the ID part is the mean of all items",
    VECTORS: "no model: the cosine between an item's vector and the mean of those in the history",
}


def build(command: Command) -> Page:
    """Train on data without the new items, put these into the models, and rank them.

    Raises:
        ConfigError: there are no vectors, or a backbone knows its users.
        VectorsError: the vectors lack items, or cannot be read.
        ReportError: no seed was finished by both rows.
    """
    check_knows_items_only(command.models)
    _path(command, command.models[0], command.datasets[0])
    command = replace(command, rows=ROWS)
    cases = {
        dataset: hold_out(Data(command.config(dataset=dataset)), command.new_share, command.new_by)
        for dataset in command.datasets
    }
    for dataset, of_dataset in cases.items():  # before hours of training
        only(read_vectors(_path(command, command.models[0], dataset)), {*of_dataset.new, *of_dataset.known})
    found = outcomes(trials_of(without := without_new_items(command, cases)), without)
    sections = [
        section(f"{dataset} {backbone}", ranks, cases[dataset], command.config(dataset=dataset))
        for dataset in command.datasets
        for backbone in command.models
        for ranks in [ranks_by_row(found, dataset, backbone, command, cases[dataset])]
    ]
    return Page("cold", "Items that training never sees", quoted_protocol(command), sections)


def ranks_by_row(
    found: Sequence[Outcome], dataset: str, backbone: str, command: Command, cases: NewItemCases
) -> dict[str, list[Ranks]]:
    """The ranks of each row, of the seeds that both models have finished.

    Raises:
        ReportError: there is no such seed.
        VectorsError: the vectors lack items, or cannot be read.
    """
    by_trial = {
        (outcome.trial.row, outcome.trial.seed): outcome
        for outcome in found
        if (outcome.trial.dataset, outcome.trial.backbone) == (dataset, backbone)
    }
    seeds = [seed for seed in command.seeds if all((row, seed) in by_trial for row in ROWS)]
    if not seeds:
        raise ReportError(f"no seed of {backbone} on {dataset} was finished by both {' and '.join(ROWS)}; run again")
    vectors = _path(command, backbone, dataset)
    of_seeds = [ranks_of(by_trial["Base", seed], by_trial["TSLRec", seed], vectors, cases) for seed in seeds]
    return {row: [ranks[row] for ranks in of_seeds] for row in ABOUT}


def ranks_of(base: Outcome, ours: Outcome, path: str, cases: NewItemCases) -> dict[str, Ranks]:
    """The ranks of each row for one seed.

    Raises:
        VectorsError: a new item has no vector, or the vectors cannot be read.
    """
    files = ModelFiles.read(open_model_folder(ours.folder("recommender")))
    new = place_new_vectors(files, only(read_vectors(path), {*cases.new, *cases.known}))
    anywhere = NewItems(new.tokens, [[] for _ in new.tokens], new.vectors)
    backbone = ModelFiles.read(open_model_folder(base.folder("backbone")))
    device = own_device()
    nearest = with_new_items(files, new, new.vectors).build(device)
    source = next(module for module in nearest.model.modules() if isinstance(module, KnowledgeProjection))
    return {
        BASE: new_item_ranks(with_new_items(backbone, new, new.vectors).build(device), cases),
        NEAREST: new_item_ranks(nearest, cases),
        MEAN: new_item_ranks(with_new_items(files, anywhere, new.vectors).build(device), cases),
        VECTORS: vector_ranks(source.knowledge.cpu(), nearest, cases),
    }


def _path(command: Command, backbone: str, dataset: str) -> str:
    return check_vectors_given(command.config(model=f"TSLRec{backbone}", dataset=dataset))


def only(vectors: ItemVectors, tokens: Collection[str]) -> ItemVectors:
    """The vectors of some items.

    Raises:
        VectorsError: one has none.
    """
    kept = [place for place, token in enumerate(vectors.tokens) if token in tokens]
    if len(kept) < len(tokens):
        raise VectorsError(
            f"{vectors.source} has vectors of {len(kept):,} of {len(tokens):,} items; report cold needs one of each"
        )
    return ItemVectors([vectors.tokens[place] for place in kept], vectors.rows[kept], vectors.source)


def section(name: str, ranks: Mapping[str, Sequence[Ranks]], cases: NewItemCases, config: Any) -> Section:
    """Means over the interactions with new items.

    Args:
        name: the name of the data and backbone.
        ranks: for each row those of its seeds.
        cases: the interactions.
        config: RecBole's, by whose metrics ranks are measured.
    """
    measured = derive(config, metrics=["Hit", "NDCG"], topk=[10])
    values = {row: over_seeds(seeds, measured, cases.users) for row, seeds in ranks.items()}
    table = pd.DataFrame([*(line(row, of_row) for row, of_row in values.items()), chance(cases, measured)])
    text = (
        f"{len(cases.new):,} of {len(cases.new) + len(cases.known):,} items are new: training saw no interaction "
        f"with them, and they were added to the trained models afterwards. {len(cases.targets):,} interactions of "
        "users who had a known item before; these items are the history, and are not ranked. Seeds: "
        f"{len(next(iter(ranks.values())))}; a value is the mean over them and the interactions, intervals (95%, "
        "bootstrap) are over users."
    )
    tests = [against(values, other, among) for among in AMONG for other in (BASE, MEAN, VECTORS)]
    marks = {
        (place, column): mark
        for column in table.columns
        if "@" in column and not column.endswith(("low", "high"))
        for place, mark in best_and_second(table[column].tolist()).items()
    }
    return Section(f"{name} new items", f"{text}\n\n{' '.join(tests)}", table, emphasis=marks)


def over_seeds(seeds: Sequence[Ranks], config: Any, users: Sequence[int]) -> Values:
    """Each user's part in the metrics over all interactions, the mean over seeds, by column of the table: [U] each."""
    return {
        f"{label(name)}, {among}": shares_of_users(np.mean([found[name] for found in of_seeds], axis=0), users)
        for place, among in enumerate(AMONG)
        for of_seeds in [[figures_of_rows(config, ranks[place]) for ranks in seeds]]
        for name in of_seeds[0]
    }


def line(row: str, values: Values) -> dict[str, object]:
    """A row of the table."""
    found: dict[str, object] = {"row": row, "about": ABOUT[row]}
    for name, of_users in values.items():
        found[name] = float(of_users.mean())
        if name.startswith(METRIC):
            found[f"{name} low"], found[f"{name} high"] = interval(of_users)
    return found


def chance(cases: NewItemCases, config: Any) -> dict[str, object]:
    """A row of the table: candidates in any order."""
    had = round(float(np.mean([len(set(history)) for history in cases.histories])))
    counts = (len(cases.new) + len(cases.known) - had, len(cases.new))
    found: dict[str, object] = {"row": "chance", "about": "candidates in any order"}
    for among, count in zip(AMONG, counts, strict=True):
        for name, of_ranks in figures_of_rows(config, np.arange(1, count + 1)).items():
            found[f"{label(name)}, {among}"] = float(of_ranks.mean())
    return found


def against(values: Mapping[str, Values], other: str, among: str) -> str:
    """A sentence on what :data:`NEAREST` gains over another row."""
    name = f"{METRIC}, {among}"
    test = paired(values[NEAREST][name], values[other][name])
    return (
        f"[{NEAREST}] against [{other}], {name}: {test.mean_difference:+.4f} ({test.low:+.4f} to {test.high:+.4f}, "
        f"p {test.t_pvalue:.3g})."
    )
