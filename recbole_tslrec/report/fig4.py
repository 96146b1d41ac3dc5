"""Figure 4: how well the categories that the LLM infers agree with the groups towards which it was fine-tuned.

An item's inferred category is the largest entry of its g-hat^v. C1: it is the item's k-means group. C2: it is not, but
the group is among the three largest. C3: neither.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import normalized_mutual_info_score
from sklearn.metrics.cluster import contingency_matrix

from recbole_tslrec.experiments.command import Command
from recbole_tslrec.experiments.jobs import trials_of
from recbole_tslrec.experiments.protocol import quoted_protocol
from recbole_tslrec.experiments.runner import outcomes
from recbole_tslrec.experiments.trials import Outcome, Trial
from recbole_tslrec.report.item_features import item_labels
from recbole_tslrec.report.page import Page, Section
from recbole_tslrec.report.plots import heat_map, stacked_shares
from recbole_tslrec.store.artifacts import open_artifact, rows_of_tokens

SHARES = ("C1", "C2", "C3")


@dataclass(frozen=True)
class Categories:
    """What one run says of the items of its dataset.

    Attributes:
        trial: whose.
        groups: k-means groups, int64 [N].
        distribution: g-hat^v, [N, K].
        labels: the labels of the ``.item`` file, empty where an item has none, [N].
    """

    trial: Trial
    groups: NDArray[np.int64]
    distribution: NDArray[np.float32]
    labels: list[str]

    @property
    def inferred(self) -> NDArray[np.int64]:
        """The category with the largest probability, [N]."""
        inferred: NDArray[np.int64] = self.distribution.argmax(axis=1)
        return inferred


def build(command: Command) -> Page:
    """Shares, confusion and agreement with the items' labels, for the row TSLRec.

    Raises:
        ConfigError: item vectors are given.
        ArtifactError: a run has no groups or inferred categories.
    """
    command.check_own_knowledge()
    trials = trials_of(replace(command, rows=("TSLRec",)))
    found = [read_categories(outcome, command) for outcome in outcomes(trials, command)]
    first = [categories for categories in found if categories.trial.seed == command.seeds[0]]
    sections = [shares_section(found), labels_section(found), *map(confusion_section, first)] if found else []
    return Page("fig4", "Fig. 4: inferred categories and k-means groups", quoted_protocol(command), sections)


def read_categories(outcome: Outcome, command: Command) -> Categories:
    """The groups and inferred categories of a run."""
    groups = open_artifact(outcome.folder("groups"), "groups")
    knowledge = open_artifact(outcome.folder("knowledge"), "knowledge")
    tokens = groups.item_tokens()
    rows = rows_of_tokens(knowledge.item_tokens(), tokens, knowledge.folder)
    grouping = groups.tensors()
    distribution = knowledge.tensors()["category_distribution"][rows]
    labels = item_labels(command.config(dataset=outcome.trial.dataset), tokens)
    return Categories(outcome.trial, grouping["groups"].numpy(), distribution.numpy(), labels)


def agreement_shares(groups: NDArray[np.int64], distribution: NDArray[np.float32]) -> tuple[float, float, float]:
    """The shares of items in C1, C2 and C3.

    Args:
        groups: [N].
        distribution: [N, K].
    """
    own = np.take_along_axis(distribution, groups[:, None], axis=1)  # [N, 1]
    rank = (distribution > own).sum(axis=1)  # categories before the item's own group, [N]
    first = distribution.argmax(axis=1) == groups  # of equal entries the first counts
    top_three = ~first & (rank < 3)
    return float(first.mean()), float(top_three.mean()), float((~first & ~top_three).mean())


def confusion(groups: NDArray[np.int64], inferred: NDArray[np.int64], group_count: int) -> NDArray[np.int64]:
    """Items by k-means group (row) and inferred category (column), both in the order of the groups' sizes, [K, K]."""
    counts = np.bincount(groups * group_count + inferred, minlength=group_count**2).reshape(group_count, group_count)
    order = by_size(groups, group_count)
    ordered: NDArray[np.int64] = counts[np.ix_(order, order)]
    return ordered


def by_size(groups: NDArray[np.int64], group_count: int) -> NDArray[np.int64]:
    """The numbers of the groups, the largest first, [K]."""
    return np.argsort(-np.bincount(groups, minlength=group_count), kind="stable")


def purity(clusters: NDArray[np.int64], labels: NDArray[np.str_]) -> float:
    """The share of items that have the commonest label of their cluster."""
    return float(contingency_matrix(labels, clusters).max(axis=0).sum() / len(clusters))


def shares_section(found: list[Categories]) -> Section:
    """C1, C2 and C3 of every run; the bars are means over seeds."""
    rows = []
    for categories in found:
        trial, (items, group_count) = categories.trial, categories.distribution.shape
        shares = agreement_shares(categories.groups, categories.distribution)
        rows.append((trial.dataset, trial.backbone, trial.seed, items, group_count, *shares))
    table = pd.DataFrame(rows, columns=["dataset", "backbone", "seed", "items", "K", *SHARES])
    means = table.groupby(["dataset", "backbone"], sort=False)[list(SHARES)].mean()
    labels = [" ".join(names) for names in means.index]
    figure = stacked_shares(labels, {name: means[name].tolist() for name in SHARES}, "share of the items")
    text = (
        "C1: the inferred category is the item's k-means group. C2: the group is among the three most probable "
        "categories only. C3: neither. The bars are means over seeds.\n\n"
        "These shares show how well Stage 1 reproduces the groups, not whether that improves a ranking; no item is "
        "ranked here, so no history mode applies."
    )
    return Section("Shares", text, table, figure)


def confusion_section(categories: Categories) -> Section:
    """Which groups are taken for which; for one run, since the groups of another seed are others."""
    trial, group_count = categories.trial, categories.distribution.shape[1]
    items = confusion(categories.groups, categories.inferred, group_count)  # [K, K]
    sizes = np.maximum(items.sum(axis=1), 1)
    elsewhere = np.where(np.eye(group_count, dtype=bool), -1, items)
    table = pd.DataFrame(
        {
            "group": np.arange(group_count),
            "items": items.sum(axis=1),
            "inferred items": items.sum(axis=0),
            "C1": items.diagonal() / sizes,
            "mostly taken for": elsewhere.argmax(axis=1),
            "share": elsewhere.max(axis=1) / sizes,
        }
    )
    figure = heat_map(items / sizes[:, None], "k-means group", "inferred category", "share of the group's items")
    text = f"Seed {trial.seed}. Groups and categories are numbered by the size of the group; the largest is 0."
    return Section(f"Confusion {trial.dataset} {trial.backbone}", text, table, figure)


def labels_section(found: list[Categories]) -> Section:
    """NMI and purity of groups and of inferred categories with the items' labels, where there are any."""
    rows = [label_agreement(categories) for categories in found if any(categories.labels)]
    lacking = sorted({categories.trial.dataset for categories in found if not any(categories.labels)})
    note = f"No category column in the .item file of {', '.join(lacking)}." if lacking else ""
    if not rows:
        return Section("Agreement with item categories", note=note)
    table = pd.DataFrame(rows)
    means = table.drop(columns="seed").groupby(["dataset", "backbone"], sort=False).mean()
    text = "\n\n".join(
        [
            "Of an item's labels in the .item file, the most common one that at most half of the items have is used. "
            "Purity: the share of items with the most common label of their group; it grows with the number of groups, "
            "NMI less so.",
            *(f"{' '.join(names)}: {_verdict(row)}" for names, row in means.iterrows()),
        ]
    )
    return Section("Agreement with item categories", text, table, note=note)


def label_agreement(categories: Categories) -> dict[str, object]:
    """NMI and purity over the items that have a label."""
    labels = np.array(categories.labels)
    has = labels != ""
    labels, groups, inferred = labels[has], categories.groups[has], categories.inferred[has]
    trial = categories.trial
    return {
        "dataset": trial.dataset,
        "backbone": trial.backbone,
        "seed": trial.seed,
        "items with a label": len(labels),
        "labels": len(np.unique(labels)),
        "groups": len(np.unique(groups)),
        "inferred categories": len(np.unique(inferred)),
        "NMI of groups": normalized_mutual_info_score(labels, groups),
        "NMI of inferred": normalized_mutual_info_score(labels, inferred),
        "purity of groups": purity(groups, labels),
        "purity of inferred": purity(inferred, labels),
    }


def _verdict(row: Any) -> str:
    """Which of the two agrees better with the labels, in words."""
    better = {score: _better(row[f"{score} of groups"], row[f"{score} of inferred"]) for score in ("NMI", "purity")}
    figures = ", ".join(
        f"{score} of inferred {row[f'{score} of inferred']:.3f}, of groups {row[f'{score} of groups']:.3f}"
        for score in better
    )
    if better["NMI"] == better["purity"]:
        return f"{better['NMI']} ({figures})."
    return f"by NMI {better['NMI']}, by purity {better['purity']} ({figures})."


def _better(groups: float, inferred: float) -> str:
    if groups == inferred:
        return "both agree with the labels alike"
    return f"the {'k-means groups' if groups > inferred else 'inferred categories'} agree better with the labels"
