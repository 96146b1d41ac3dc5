"""Table 1: counts beside the paper's."""

import numpy as np
import pandas as pd
import pytest

from recbole_tslrec.data.paper_counts import Counts
from recbole_tslrec.data.statistics import DatasetStatistics
from recbole_tslrec.report import table1
from recbole_tslrec.report.table1 import against_paper, in_detail
from tests.conftest import write_dataset


def statistics_of(name: str, users: int) -> DatasetStatistics:
    lengths = np.array([3, 5])
    return DatasetStatistics(
        name, Counts(users, 12_101, 198_502), lengths, np.array([1, 0]), 1, 2, 0, "seconds", "2010-01-01 to 2014-07-23"
    )


def test_counts_stand_beside_the_papers_with_the_difference():
    section = against_paper([statistics_of("beauty", 22_360)])
    assert section.table.iloc[:, 1:].values.tolist() == [
        ["users", 22_360, 22_363, -3],
        ["items", 12_101, 12_101, 0],
        ["interactions", 198_502, 198_502, 0],
    ]
    assert "Other counts than the paper's: beauty" in section.note


def test_the_papers_own_counts_leave_no_note():
    assert against_paper([statistics_of("beauty", 22_363)]).note == ""


def test_a_dataset_that_the_paper_lacks_has_empty_columns_and_a_note():
    section = against_paper([statistics_of("ml-100k", 943)])
    assert section.table["here"].tolist() == [943, 12_101, 198_502]
    assert section.table[["paper", "difference"]].isna().all(axis=None)
    assert "no ml-100k" in section.note


def test_density_is_in_percent():
    table = in_detail([statistics_of("beauty", 22_363)]).table
    assert table["density, %"][0] == pytest.approx(100 * 198_502 / (22_363 * 12_101))


def test_the_page_counts_the_datasets_that_are_asked_for(tmp_path, toy_command):
    rows = [("u1", "a", 1.0), ("u1", "b", 2.0), ("u1", "a", 3.0), ("u2", "b", 1.0)]
    write_dataset(tmp_path / "data", "toy", rows)
    page = table1.build(toy_command)
    assert page.sections[0].table["here"].tolist() == [2, 2, 4]
    assert pd.Series(page.sections[1].table["repeated interactions"]).tolist() == [1]
