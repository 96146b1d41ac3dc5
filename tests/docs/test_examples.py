"""The blocks of the README and the pages run, one after the other, in a folder of their own for each page.

They run as they stand, but with smaller defaults than those of ``properties/``, so that a page takes seconds.
"""

import logging
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from recbole_tslrec import cli
from recbole_tslrec.configuration import config as configuration
from recbole_tslrec.configuration import properties
from recbole_tslrec.experiments import model_free_run
from recbole_tslrec.experiments.jobs import Job
from recbole_tslrec.experiments.processes import LocalProcess, LocalProcesses, command_line
from recbole_tslrec.store.files import beside
from tests.conftest import TINY_SCRATCH
from tests.docs.blocks import PAGES, Block, blocks, calls, own_arguments

SMALL = {
    "hidden_size": 8,
    "embedding_size": 8,
    "inner_size": 16,
    "n_layers": 1,
    "sft_tokens_per_batch": 4096,
}
ACTIVE = {"user_inter_num_interval": '"[150,inf)"'}  # a quarter of ml-100k's users
QUICK = {"MAX_ITEM_LIST_LENGTH": 8, "epochs": 1, "sft_epochs": 1, "minimum_epochs": 0}
_LEFT = ("make ", "torchrun ", "accelerate ")  # calls of others, which the page explains


def _runs(block: Block) -> bool:
    return not block.why and block.language in ("bash", "python")


RUNNING = [page for page in PAGES if any(map(_runs, blocks(page)))]


@pytest.fixture
def small_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Narrow models, short histories, one epoch; in the presets too."""
    folder = tmp_path / "defaults" / "properties"
    shutil.copytree(properties.properties_folder(), folder)
    smaller = {
        "overall": {**SMALL, **QUICK},
        "presets/quick": QUICK,
        "llm/scratch": TINY_SCRATCH,
        "dataset/ml-100k": ACTIVE,
        "dataset/shop": ACTIVE,  # ml-100k too, as get_started writes it
    }
    for name, values in smaller.items():  # the last line of a key is the one that counts
        with (folder / f"{name}.yaml").open("a") as file:
            file.writelines(f"\n{key}: {value}" for key, value in values.items())
    for module in (properties, configuration):
        monkeypatch.setattr(module, "properties_folder", lambda: folder)
    configuration.known_keys.cache_clear()
    yield
    configuration.known_keys.cache_clear()


@pytest.fixture
def reports_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The runs of a report begin where this process has come to: with small defaults, and everything imported."""

    def start(_: object, job: Job) -> LocalProcess:
        job.file.parent.mkdir(parents=True, exist_ok=True)
        result = beside(job.file, "unread")
        _, _, module, *argv = command_line(job, result)
        (cli if module == "recbole_tslrec" else model_free_run).main(argv)
        return LocalProcess(subprocess.Popen(["true"]), result)

    monkeypatch.setattr(LocalProcesses, "start", start)


@pytest.mark.usefixtures("small_defaults", "reports_in_this_process")
@pytest.mark.parametrize("page", RUNNING)
def test_blocks_of_a_page_run(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "page"
    folder.mkdir()
    monkeypatch.chdir(folder)
    names: dict[str, object] = {"__name__": "__main__"}
    for block in filter(_runs, blocks(page)):
        if block.language == "python":
            exec(compile(block.text, str(block), "exec"), names)
            continue
        for call in calls(block, folder):
            argv = own_arguments(call)
            if argv is None:
                assert " ".join(call).startswith(_LEFT), f"{block}: {call} is run by no test; say why"
                continue
            monkeypatch.setattr(sys, "argv", ["recbole_tslrec", *argv])
            cli.console()
    logging.getLogger().handlers.clear()  # RecBole's, which would write into the next page's folder
