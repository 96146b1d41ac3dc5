"""Items that training never sees, from the command to the page."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recbole_tslrec.augmentation.vector_rows import VectorsError
from recbole_tslrec.experiments.command import Command, parse
from recbole_tslrec.experiments.new_items import NewItemCases
from recbole_tslrec.report.cold import ABOUT, BASE, NEAREST, build, chance, section
from recbole_tslrec.settings import ConfigError
from tests.conftest import SMALL, walks, write_dataset

METRICS = ["HR@10, all", "NDCG@10, all", "HR@10, new", "NDCG@10, new"]


def command_with(folder: Path, vectors: pd.DataFrame, seeds: tuple[int, ...] = (1,), **settings: object) -> Command:
    """A command on items that users walk through in a circle."""
    data = write_dataset(folder / "data", "toy", walks())
    vectors.to_parquet(folder / "vectors.parquet")
    keys = {**SMALL, "data_path": data, "knowledge_path": folder / "vectors.parquet", **settings}
    arguments = tuple(f"--{key}={value}" for key, value in keys.items())
    return Command(("toy",), ("SASRec",), seeds, ("Base", "TSLRec"), folder / "out", settings=arguments, new_share=0.2)


def circle(items: int = 30) -> pd.DataFrame:
    """Items that follow each other lie beside each other."""
    angle = 2 * np.pi * np.arange(items) / items
    return pd.DataFrame({"item_id": [f"i{item}" for item in range(items)], "x": np.cos(angle), "y": np.sin(angle)})


@pytest.mark.slow
def test_vectors_place_new_items_where_they_belong(tmp_path: Path) -> None:
    """The steps of a walk are short, so where an item lies says who comes to it."""
    page = build(command_with(tmp_path, circle(), epochs=40, learning_rate=0.01, hidden_size=16, embedding_size=16))
    [found] = page.sections
    assert found.table is not None
    table = found.table.set_index("row")
    assert list(table.index) == [*ABOUT, "chance"]
    assert table[METRICS].notna().all(axis=None)
    for name in ("NDCG@10, all", "NDCG@10, new"):
        assert table.loc[NEAREST, name] > 1.3 * table.loc["chance", name]
        assert table.loc[NEAREST, f"{name} low"] <= table.loc[NEAREST, name] <= table.loc[NEAREST, f"{name} high"]
    assert "6 of 30 items are new" in found.text


def test_figures_by_hand(toy_command: Command) -> None:
    """Two interactions, two seeds: NDCG@10 of ranks 1, 3 and 11 is 1, 1/2 and 0."""
    cases = NewItemCases(["d", "e"], ["a", "b", "c"], [["a"], ["b"]], ["d", "e"], [0, 1])
    ranks = {row: [(np.array([11, 11]), np.array([2, 2]))] * 2 for row in ABOUT}
    ranks[NEAREST] = [(np.array([1, 3]), np.array([1, 1])), (np.array([3, 11]), np.array([1, 1]))]
    found = section("toy SASRec", ranks, cases, toy_command.config())
    assert found.table is not None
    table = found.table.set_index("row")
    assert table.loc[NEAREST, "NDCG@10, all"] == pytest.approx((1 + 0.5 + 0.5 + 0) / 4)
    assert table.loc[NEAREST, "HR@10, all"] == pytest.approx(3 / 4)
    assert table.loc[NEAREST, "NDCG@10, new"] == 1
    assert table.loc[BASE, "HR@10, all"] == 0
    assert "[TSLRec, nearest] against [Base, nearest], NDCG@10, all: +0.5000" in found.text


def test_chance_by_hand(toy_command: Command) -> None:
    """Of five items one is in the history: any of four places, and any of two among the new ones."""
    cases = NewItemCases(["d", "e"], ["a", "b", "c"], [["a"], ["b", "b"]], ["d", "e"], [0, 1])
    found = chance(cases, toy_command.config())
    assert found["HR@10, all"] == found["HR@10, new"] == 1
    assert found["NDCG@10, all"] == pytest.approx(sum(1 / np.log2(rank + 1) for rank in (1, 2, 3, 4)) / 4)
    assert found["NDCG@10, new"] == pytest.approx((1 + 1 / np.log2(3)) / 2)


def test_an_item_without_a_vector_is_named_before_anything_is_trained(tmp_path: Path) -> None:
    with pytest.raises(VectorsError, match="has vectors of 29 of 30 items; report cold needs one of each"):
        build(command_with(tmp_path, circle(29)))
    assert not (tmp_path / "artifacts").exists()


def test_a_backbone_that_knows_its_users_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="ranks for histories, and Caser has an embedding per user; leave it out"):
        build(replace(command_with(tmp_path, circle()), models=("SASRec", "Caser")))
    assert parse("cold", []).models == ("GRU4Rec", "SASRec", "FMLPRec")


@pytest.mark.parametrize("report", ["cold", "fig4", "embeddings"])
def test_rows_are_refused_where_a_report_has_its_own(report: str) -> None:
    with pytest.raises(ConfigError, match=f"report {report} has rows of its own; leave --rows out"):
        parse(report, ["--rows=CI"])
