"""Table 1: the size of the datasets beside the paper's, and properties on which a ranking depends."""

from dataclasses import asdict

import pandas as pd

from recbole_tslrec.data.paper_counts import TABLE1, difference
from recbole_tslrec.data.statistics import DatasetStatistics, statistics
from recbole_tslrec.experiments.command import Command
from recbole_tslrec.report.page import Page, Section


def build(command: Command) -> Page:
    """The statistics of the datasets as RecBole loads them.

    Raises:
        DatasetError: a dataset is missing or lacks a column.
    """
    found = [statistics(command.config(dataset=name)) for name in command.datasets]
    return Page("table1", "Table 1: datasets", command.line, [against_paper(found), in_detail(found)])


def against_paper(datasets: list[DatasetStatistics]) -> Section:
    """Users, items and interactions, the paper's, and the difference; nothing beside a dataset that the paper lacks."""
    rows = []
    for dataset in datasets:
        paper = asdict(TABLE1[dataset.name]) if dataset.name in TABLE1 else {}
        less = difference(dataset.name, dataset.counts) or {}
        for what, count in asdict(dataset.counts).items():
            rows.append((dataset.name, what, count, paper.get(what), less.get(what)))
    table = pd.DataFrame(rows, columns=["dataset", "", "here", "paper", "difference"])
    table = table.astype(dict.fromkeys(("here", "paper", "difference"), "Int64"))
    others = [dataset.name for dataset in datasets if dataset.name not in TABLE1]
    differing = [dataset.name for dataset in datasets if any((difference(dataset.name, dataset.counts) or {}).values())]
    note = [f"The paper's Table 1 has no {', '.join(others)}."] if others else []
    note += [f"Other counts than the paper's: {', '.join(differing)}; filters or another source."] if differing else []
    return Section("Against the paper", "Counted as loaded, filters included.", table, note=" ".join(note))


def in_detail(datasets: list[DatasetStatistics]) -> Section:
    """Every statistic, a row per dataset."""
    table = pd.DataFrame([{"dataset": dataset.name, **dataset.figures()} for dataset in datasets])
    table.insert(table.columns.get_loc("density"), "density, %", 100 * table.pop("density"))
    text = (
        "Lengths are interactions per user. Ties: at equal times the order is that of the file. A test target that is "
        "in the history already is ranked only in the modes unmasked and keep_target."
    )
    return Section("In detail", text, table)
