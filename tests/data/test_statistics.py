"""The figures of a dataset, counted by hand."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recbole_tslrec.configuration.config import Config
from recbole_tslrec.data.dataset import Data
from recbole_tslrec.data.paper_counts import TABLE1, Counts, difference
from recbole_tslrec.data.statistics import held_out, statistics
from tests.conftest import write_dataset

# a: history x y | z | test x again; b: history x | none | y; c: x z, tied; of five items w and v are never trained on
INTERACTIONS = [
    *[("a", "x", 1.0), ("a", "y", 2.0), ("a", "w", 3.0), ("a", "x", 4.0)],
    *[("b", "x", 1.0), ("b", "x", 2.0), ("b", "v", 3.0)],
    *[("c", "x", 5.0), ("c", "z", 5.0)],
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_dataset(tmp_path, "toy", INTERACTIONS) / "toy"


def test_figures(folder: Path) -> None:
    found = statistics(Config("SASRec", "toy", [], {"data_path": str(folder.parent)}))
    assert found.counts == Counts(users=3, items=5, interactions=9)
    assert found.density == 9 / 15
    assert found.mean_length == 3
    assert found.length_quantiles == {0.0: 2, 0.25: 2.5, 0.5: 3, 0.75: 3.5, 0.95: pytest.approx(3.9), 1.0: 4}
    assert found.repeats == 2  # a's second x and b's
    assert found.ties == 2  # c's x and z
    assert found.figures()["interactions tied in time, share"] == 2 / 9
    assert (found.time_unit, found.time_span) == ("unknown", "1 to 5")
    assert found.repeated_targets == 1  # a's
    assert found.items_without_training == 2
    assert sorted(found.popularity.tolist()) == [0, 0, 1, 1, 4]


def test_a_configuration_counts_behind_its_filters(make_config: Callable[..., Any]) -> None:
    config = make_config(interactions=INTERACTIONS, user_inter_num_interval="[3,inf)")
    assert statistics(config).counts == Counts(users=2, items=4, interactions=7)


def test_held_out_is_what_recbole_holds_out(make_config: Callable[..., Any]) -> None:
    lengths = np.array([2, 3, 4, 5, 9])
    rows = [(f"u{length}", f"i{place}", float(place)) for length in lengths for place in range(length)]
    histories = Data(make_config(interactions=rows)).histories
    assert histories.lengths.tolist() == (lengths - held_out(lengths)).tolist()


def test_difference_to_the_paper() -> None:
    assert difference("yelp", TABLE1["yelp"]) == {"users": 0, "items": 0, "interactions": 0}
    found = difference("ml-1m", Counts(users=6040, items=3706, interactions=1_000_209))
    assert found == {"users": 0, "items": 290, "interactions": 598}
    assert difference("toy", Counts(1, 1, 1)) is None
