"""Fig. 3 on toy data: every method in both phases, measured or, where the LLM is too large, estimated and marked so."""

import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from recbole_tslrec.experiments import llm_estimate
from recbole_tslrec.experiments.command import Command, parse
from recbole_tslrec.experiments.llm_time import CONTENDERS, E4SREC, E4SREC_ROW, TSLREC, Sample
from recbole_tslrec.report import fig3
from tests.conftest import TINY_SCRATCH, walks, write_dataset

SMALL = Sample(prompts=8, batch_size=4, published_batches=1, published_users=2, items=8, rounds=1, budgets=(200,))


@pytest.fixture
def command(tmp_path: Path) -> Command:
    write_dataset(tmp_path / "data", "toy", walks(users=20, items=15, length=6))
    settings = {"data_path": tmp_path / "data", "group_count": 4, **TINY_SCRATCH}
    keys = [f"--{key}={value}" for key, value in settings.items()]
    return parse("fig3", ["--datasets=toy", "--models=SASRec", f"--output_dir={tmp_path / 'reports'}", *keys])


def rows_of(page: Any) -> pd.DataFrame:
    (section,) = page.sections
    return section.table.set_index(["phase", "method"])


def hatches(page: Any) -> set[str]:
    panels = page.sections[0].figure.axes
    return {bar.get_hatch() or "" for axes in panels for bar in axes.patches}


def test_small_llms_are_measured(command: Command) -> None:
    page = fig3.build(command, SMALL)
    found = rows_of(page)
    assert set(found.index) == {(phase, name) for phase in ("training epoch", "inference") for name in CONTENDERS}
    assert set(found["how"]) == {"measured"}
    assert (found["seconds"] > 0).all()
    # 4 of 6 interactions are for training; the first of them has no history
    training = found["prompts"]["training epoch"]
    assert (training[TSLREC], training[E4SREC]) == (20, 20 * 3)
    inference = found["prompts"]["inference"]
    assert (inference[TSLREC], inference[E4SREC]) == (15, 20)
    assert hatches(page) == {""}


def test_a_large_llm_is_estimated_and_marked(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llm_estimate, "free_memory", lambda device: 0)
    page = fig3.build(command, SMALL)
    found = rows_of(page)
    assert all(re.match(r"estimated: timing it needs .* 0\.0 GiB are free", how) for how in found["how"])
    assert found["prompts"]["training epoch"][E4SREC] == 60
    assert found["x tslrec"]["training epoch"][E4SREC] > found["x tslrec"]["training epoch"][E4SREC_ROW] > 1
    assert hatches(page) == {"///"}


def test_an_llm_that_would_take_hours_is_estimated(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llm_estimate, "matmul_speed", lambda device, dtype: 1e3)
    assert all("would take about" in how for how in rows_of(fig3.build(command, SMALL))["how"])
