"""Items that training never sees: the split of the items, the runs without them, and the ranks after."""

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from recbole_tslrec.configuration.config import Config
from recbole_tslrec.data.dataset import Data
from recbole_tslrec.experiments import new_items
from recbole_tslrec.experiments.command import Command, parse
from recbole_tslrec.experiments.jobs import Job, trials_of
from recbole_tslrec.experiments.new_items import LATEST, RANDOM, NewItemCases, hold_out, without_new_items
from recbole_tslrec.settings import ConfigError

# d appears after a and, with what a test adds, after all others
ROWS = [("u", "a", 1.0), ("u", "d", 9.0), ("u", "b", 10.0), ("u", "d", 11.0), ("v", "d", 12.0), ("v", "c", 13.0)]


@pytest.mark.parametrize("by", [RANDOM, LATEST])
def test_every_item_is_new_or_known(make_config: Callable[..., Config], by: str) -> None:
    data = Data(make_config())
    cases = hold_out(data, 0.2, by)
    assert sorted([*cases.new, *cases.known]) == sorted(data.item_tokens)
    assert len(cases.new) == 6  # of 30
    assert set(cases.targets) == set(cases.new)
    assert all(history and set(history) <= set(cases.known) for history in cases.histories)


def test_random_items_are_the_same_each_time(make_config: Callable[..., Config]) -> None:
    assert hold_out(Data(make_config(seed=1)), 0.2, RANDOM) == hold_out(Data(make_config(seed=2)), 0.2, RANDOM)


def test_the_latest_items_are_those_that_appeared_last(make_config: Callable[..., Config]) -> None:
    """u comes to d from a, and from a and b; v from b and c."""
    rows = [*ROWS, ("v", "b", 2.0), ("v", "c", 3.0)]
    cases = hold_out(Data(make_config(interactions=rows)), 0.25, LATEST)
    assert cases.new == ["d"]
    assert sorted(zip(cases.histories, cases.targets, strict=True)) == [
        (["a"], "d"),
        (["a", "b"], "d"),
        (["b", "c"], "d"),
    ]
    assert sorted(np.unique(cases.users, return_counts=True)[1].tolist()) == [1, 2]  # of v and of u


def test_a_share_is_one_item_at_least(make_config: Callable[..., Config]) -> None:
    assert len(hold_out(Data(make_config()), 0.001, RANDOM).new) == 1


def test_the_runs_do_not_see_new_items(command: Command) -> None:
    cases = hold_out(Data(command.config()), 0.2, RANDOM)
    without = without_new_items(command, {"toy": cases})
    for trial in trials_of(without):
        job = Job(trial, without)
        assert set(Data(job.config()).item_tokens) == set(cases.known)
        assert job.file.is_relative_to(command.output_dir / "without_new_items")


def test_other_new_items_are_another_request(command: Command) -> None:
    """So that no result of the former ones is taken for one of these."""
    data = Data(command.config())
    requests = []
    for share in (0.2, 0.4):
        without = without_new_items(command, {"toy": hold_out(data, share, RANDOM)})
        requests.append(Job(trials_of(without)[0], without).request)
    assert requests[0] != requests[1]


SAVED: Any = SimpleNamespace(item_ids=lambda tokens: ["abcde".index(token) + 1 for token in tokens])


def test_ranks_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Items a to e are 1 to 5, d and e new. History and pad are no candidates; equal scores stand before the target."""
    cases = NewItemCases(["d", "e"], ["a", "b", "c"], [["a"], ["b", "c"], ["a"]], ["d", "d", "e"], [0, 0, 1])
    scores = {
        (1,): [9.0, 8.0, 7.0, 6.0, 5.0, 4.0],  # of d: b and c before; of e: the last of four
        (2, 3): [9.0, 4.0, 7.0, 6.0, 4.0, 5.0],  # e, then a and d alike
    }
    monkeypatch.setattr(new_items, "_BATCH", 2)
    among_all, among_new = new_items._ranks(
        lambda histories: torch.tensor([scores[tuple(history)] for history in histories]), SAVED, cases
    )
    assert among_all.tolist() == [3, 3, 4]
    assert among_new.tolist() == [1, 2, 2]


def test_vectors_alone_rank_by_the_cosine_with_the_mean_of_the_history() -> None:
    """The mean of the directions of a (1, 0) and b (0, 1) points between them, as d does; e points away."""
    vectors = torch.tensor([[0.0, 0.0], [5.0, 0.0], [0.0, 1.0], [-1.0, 0.1], [2.0, 2.0], [-1.0, -1.0]])
    cases = NewItemCases(["d", "e"], ["a", "b", "c"], [["a", "b"], ["a", "b"]], ["d", "e"], [0, 1])
    among_all, among_new = new_items.vector_ranks(vectors, SAVED, cases)
    assert among_all.tolist() == [1, 3]
    assert among_new.tolist() == [1, 2]


@pytest.mark.parametrize("share", ["0", "1", "-0.1", "nan", "x"])
def test_a_share_that_is_none_is_refused(share: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse("cold", [f"--new_share={share}"])
    assert "--new_share" in capsys.readouterr().err


def test_data_without_times_has_no_latest_items(make_config: Callable[..., Config]) -> None:
    data = Data(make_config())
    data.dataset.time_field = "no_time"
    with pytest.raises(ConfigError, match="has no times; choose new items with --new_by=random"):
        hold_out(data, 0.2, LATEST)


def test_vectors_must_be_given(command: Command) -> None:
    for settings in ((), ("--knowledge_path=a.npy,b.npy",)):
        config = replace(command, settings=(*command.settings, *settings)).config("TSLRecSASRec")
        with pytest.raises(ConfigError, match="needs one file of item vectors"):
            new_items.check_vectors_given(config)


def test_a_filter_of_values_is_refused(command: Command) -> None:
    """It would stand in the place of the one that keeps new items away."""
    cases = hold_out(Data(command.config()), 0.2, RANDOM)
    with pytest.raises(ConfigError, match="report cold keeps new items away with val_interval"):
        without_new_items(
            replace(command, settings=(*command.settings, "--val_interval={'x': '[1,2]'}")), {"toy": cases}
        )
