"""Two processes train and rank as one: equal weights but for the rounding of sums, and equal ranks."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from recbole_tslrec.compute.distributed import Share
from recbole_tslrec.store.files import read_json
from recbole_tslrec.training.recommender import MODEL
from recbole_tslrec.training.shared_steps import reads_every_parameter, share_of, why_not_shared
from tests.training import shared_by_processes as shared

ROOT = Path(__file__).parents[2]
# a gradient is summed in another order; Adam divides by its size, so that a small one's rounding counts
WEIGHTS = 1e-4


def start_two(module: str, folder: Path) -> str:
    """Two processes, each as if on a node of its own: both are the first of their node."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    here = {"PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}", "OMP_NUM_THREADS": "1"}
    launched = {"WORLD_SIZE": "2", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    command, pipe = [sys.executable, "-m", module, str(folder)], subprocess.PIPE
    processes = [
        subprocess.Popen(command, env={**os.environ, **here, **launched, "RANK": rank}, stderr=pipe, text=True)
        for rank in ("0", "1")
    ]
    said = [process.communicate(timeout=300)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    return "".join(said)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """``one`` and ``two`` hold what as many processes have left."""
    folder = tmp_path_factory.mktemp("shared")
    one, two, before = folder / "one", folder / "two", Path.cwd()
    one.mkdir()
    os.chdir(one)
    shared.train_all(one)
    shared.interrupt(one)
    shutil.copytree(one / "interrupted", two / "from one")
    (folder / "said").write_text(start_two("tests.training.shared_by_processes", two))
    shutil.copytree(two / "interrupted", one / "from two")
    shared.train(one, shared.KILLED, "from two")
    os.chdir(before)
    return folder


def check_weights(one, two):
    weights = load_file(two / MODEL)
    for name, expected in load_file(one / MODEL).items():
        torch.testing.assert_close(weights[name], expected, rtol=0, atol=WEIGHTS, msg=name)


@pytest.mark.parametrize("case", shared.CASES)
def test_two_processes_train_as_one(folder, case):
    one, two = folder / "one" / case, folder / "two" / case
    check_weights(one, two)
    (expected,), found = (read_json(where / "report.json")["trained"] for where in (one, two))
    others = {} if case == "rows that meet" else expected
    assert found == [expected, others]  # each process has stopped after as many epochs, with the same metrics


@pytest.mark.parametrize("case", shared.CASES)
def test_two_processes_rank_as_one(folder, case):
    """The ranks of all history modes come from these two columns."""
    expected, found = (np.load(folder / name / case / "ranks.npz") for name in ("one", "two"))
    for column in ("valid unmasked", "valid seen_before", "test unmasked", "test seen_before"):
        assert len(expected[column]) == 41
        assert np.array_equal(found[column], expected[column]), column
    (of_one,), of_two = (read_json(folder / name / case / "report.json")["test"] for name in ("one", "two"))
    assert of_two == [of_one, of_one]


@pytest.mark.parametrize("went_on", ["two/from one", "one/from two"])
def test_another_number_of_processes_goes_on(folder, went_on):
    check_weights(folder / "one" / shared.KILLED, folder / went_on)


def test_a_loss_that_is_no_number_ends_every_process(folder):
    first, second = read_json(folder / "two" / "errors.json")
    assert "the training loss of SASRec is" in first
    assert "the training loss of SASRec is" in second


def test_rows_that_meet_in_the_loss_are_trained_in_the_main_process(folder):
    said = (folder / "said").read_text()
    assert "TransRec is trained in the main process alone, while 1 other waits: the loss of a batch is" in said
    assert said.count("trained in the main process alone") == 1
    alone, other = (load_file(folder / name / "rows that meet" / MODEL) for name in ("one", "two"))
    for name, weight in alone.items():
        assert torch.equal(other[name], weight), name


def test_unread_parameters_are_looked_for_where_there_are_some(folder):
    """Torch warns where it has looked for them in vain, and ends where it has not looked and there is one (NPE)."""
    assert "find_unused_parameters" not in (folder / "said").read_text()


def test_one_process_writes_the_log(folder):
    events = [path.name for path in (folder / "two").rglob("events.out.tfevents.*")]
    assert len({name.split(".")[-2] for name in events}) == 1  # the process of each file


# A step and its shares


class Counts:
    """A batch of three rows with 1, 3 and 2 targets; its loss is the mean over them."""

    def target_counts(self, rows):
        return rows

    def calculate_loss(self, rows):
        return (rows * torch.tensor([0.0, 5.0, 7.0, 9.0])[rows]).sum() / rows.sum()

    def modules(self):
        return []

    training = False

    def eval(self):
        pass

    def train(self, mode):
        pass


def test_a_share_weighs_as_many_targets_as_it_has():
    batch = torch.tensor([1, 3, 2])
    rows, weight = share_of(Counts(), batch, Share(0, 2))
    assert (rows.tolist(), float(weight)) == ([1, 2], 0.5)
    rows, weight = share_of(Counts(), batch, Share(1, 2))
    assert (rows.tolist(), float(weight)) == ([3], 0.5)


def test_a_process_without_a_row_takes_one_at_no_weight():
    rows, weight = share_of(Counts(), torch.tensor([2]), Share(1, 2))
    assert (rows.tolist(), float(weight)) == ([2], 0.0)


def test_a_mean_over_targets_is_shared():
    assert why_not_shared(Counts(), torch.tensor([1, 3, 2])) == ""


def test_a_sum_over_rows_is_not_shared(monkeypatch):
    monkeypatch.setattr(Counts, "calculate_loss", lambda self, rows: rows.sum().float())
    reason = why_not_shared(Counts(), torch.tensor([1, 3, 2]))
    assert reason == "the loss of a batch is 6, that of its halves 3: its rows meet in the loss"


def test_a_batch_normalisation_is_not_shared():
    model = SimpleNamespace(modules=lambda: [nn.BatchNorm1d(3)])
    assert why_not_shared(model, None) == "it normalises over the rows of a batch"


@pytest.mark.parametrize(("second", "expected"), [("read", True), ("unread", False), ("frozen", True)])
def test_a_parameter_is_read_where_the_loss_depends_on_it(second, expected):
    model = nn.ParameterList([torch.ones(2), torch.ones(2)])
    model[1].requires_grad_(second != "frozen")
    model.calculate_loss = lambda rows: rows * (sum(model) if second == "read" else model[0]).sum()
    assert reads_every_parameter(model, 3.0) is expected
    assert model[0].grad is None


def test_trying_leaves_random_numbers_as_they_were(monkeypatch):
    monkeypatch.setattr(Counts, "calculate_loss", lambda self, rows: torch.rand(3).mean() + np.random.random())
    torch.manual_seed(3)
    np.random.seed(3)
    why_not_shared(Counts(), torch.tensor([1, 3, 2]))
    drawn = torch.rand(1), np.random.random()
    torch.manual_seed(3)
    np.random.seed(3)
    assert drawn == (torch.rand(1), np.random.random())
