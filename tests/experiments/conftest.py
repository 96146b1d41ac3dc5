"""Commands on small data, and results of trials written by hand."""

from collections.abc import Callable
from pathlib import Path

import pytest

from recbole_tslrec.experiments.command import Command
from recbole_tslrec.experiments.jobs import Job
from recbole_tslrec.store.files import write_json
from tests.conftest import SMALL, walks, write_dataset
from tests.results import stages_of


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """SASRec, seeds 1 and 2, the rows Base and TSLRec on a small dataset called toy."""
    settings = {"data_path": write_dataset(tmp_path / "data", "toy", walks()), "artifacts_dir": "artifacts", **SMALL}
    arguments = tuple(f"--{key}={value}" for key, value in settings.items())
    return Command(("toy",), ("SASRec",), (1, 2), ("Base", "TSLRec"), tmp_path / "out", settings=arguments)


@pytest.fixture
def finish(tmp_path: Path) -> Callable[..., None]:
    """``finish(job, seconds by stage)``: as if the job had run; Base's stages are those of every row of its seed."""

    def write(job: Job, seconds: dict[str, float]) -> None:
        trial = job.trial
        shared = ("backbone", "evaluation of Base")
        folders = {
            stage: str(tmp_path / "artifacts" / f"{stage}-{'' if stage in shared else trial.row}{trial.seed}")
            for stage in seconds
        }
        for folder in folders.values():
            Path(folder).mkdir(parents=True, exist_ok=True)
        job.file.parent.mkdir(parents=True, exist_ok=True)
        write_json(job.file, {"stages": stages_of(folders, seconds), "request": job.request})

    return write
