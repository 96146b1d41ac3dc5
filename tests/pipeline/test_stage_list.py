"""The list of stages says what is done, reused, running and to do, in a terminal alone."""

import io
import sys
from pathlib import Path

import pytest

from recbole_tslrec.pipeline import run_stages
from recbole_tslrec.pipeline.stage_list import shows_progress, stage_list
from recbole_tslrec.quick_start import run
from tests.conftest import SMALL


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def states(text: str) -> list[tuple[str, str]]:
    """Name and state of each line; seconds are left out."""
    lines = [line.split(maxsplit=1) for line in text.splitlines() if line.startswith("  ")]
    return [(name, state.split(" in ")[0]) for name, state in lines]


def test_each_stage_has_a_line_with_its_state():
    found = stage_list(["backbone", "groups", "evaluation"], {"backbone": "reused", "groups": "running"})
    assert found == "stages:\n  backbone    reused\n  groups      running\n  evaluation  to do\n"


@pytest.mark.parametrize(("asked", "stream", "shown"), [(True, Terminal(), True), (False, Terminal(), False)])
def test_a_terminal_shows_progress_where_it_is_asked_for(asked, stream, shown):
    assert shows_progress({"show_progress": asked}, stream) is shown


def test_what_is_no_terminal_shows_none():
    assert not shows_progress({"show_progress": True}, io.StringIO())


def test_a_run_in_a_terminal_lists_its_stages_before_each_that_it_builds(make_config, monkeypatch):
    run_stages(make_config("SASRec"))
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    run_stages(make_config("CISASRec", show_progress=True))
    first, *_, last = terminal.getvalue().split("stages:\n")[1:]
    begun = [("backbone", "reused"), ("item_embeddings", "running")]
    assert states(first.partition("Train")[0])[:5] == [
        *begun,
        ("groups", "to do"),
        ("recommender", "to do"),
        ("evaluation", "to do"),
    ]
    assert states(last)[:5] == [
        ("backbone", "reused"),
        ("item_embeddings", "done"),
        ("groups", "done"),
        ("recommender", "done"),
        ("evaluation", "running"),
    ]


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()])
def test_bars_and_the_list_are_for_terminals_alone(make_config, monkeypatch, stream):
    config = make_config("SASRec")
    monkeypatch.setattr(sys, "stderr", stream)
    folders = {"data_path": str(Path(config["data_path"]).parent), "artifacts_dir": config["artifacts_dir"]}
    run("SASRec", "toy", config_dict={**SMALL, **folders, "show_progress": True})
    assert ("stages:" in stream.getvalue()) is stream.isatty()
    assert ("%|" in stream.getvalue()) is stream.isatty()
