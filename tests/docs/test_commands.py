"""Every command line that the README and the pages show is one that the real parsers take, with keys that exist."""

import importlib
from pathlib import Path
from typing import Any

import pytest

from recbole_tslrec import cli, data_command
from recbole_tslrec.configuration.config import Config
from recbole_tslrec.experiments import command as reports
from recbole_tslrec.experiments import tuning
from recbole_tslrec.report.page import NAMES
from recbole_tslrec.serving import export_command, extend, model_export
from recbole_tslrec.serving import recommend as recommending
from tests.docs.blocks import PAGES, Block, blocks, calls, mentions_us, own_arguments

SHELL = [block for page in PAGES for block in blocks(page) if block.language in ("", "bash")]


class Parsed(Exception):
    """The arguments are read, and the work would begin."""


def _parsed(*_: Any, **__: Any) -> Any:
    raise Parsed


@pytest.fixture
def nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands end where their work would begin."""

    def run(
        model: str, dataset: str, config_file_list: list[str], argv: list[str], rebuild: list[str], **_: Any
    ) -> None:
        Config(model, dataset, config_file_list, argv=argv)
        assert set(rebuild) <= set(cli.KINDS)
        raise Parsed

    monkeypatch.setattr(cli, "run", run)
    for module, name in (
        (data_command, "import_dataset"),
        (data_command, "statistics"),
        (recommending, "recommend_file"),
        (extend, "read_new_items"),
        (extend, "extend_with_vectors"),
        (tuning, "read_space"),
        (data_command, "download_dataset"),
    ):
        monkeypatch.setattr(module, name, _parsed)

    def export(_: str, format: str, __: str | None) -> None:
        model_export.check_format(format)
        raise Parsed

    monkeypatch.setattr(export_command, "export", export)


def _check_report(name: str, argv: list[str]) -> None:
    assert name in NAMES, name
    asked = reports.parse(name, argv)
    for dataset in asked.datasets:
        for model in asked.models:
            asked.config(model, dataset)
    raise Parsed


def _read(argv: list[str]) -> None:
    name = argv[0] if argv else ""
    if name == "report":
        _check_report(argv[1], argv[2:])
    elif name in cli.COMMANDS:
        importlib.import_module(cli.COMMANDS[name].module).main(argv[1:])
    else:
        cli.main(argv)


def check(argv: list[str]) -> None:
    """Read a command line as the console does, up to where its work would begin."""
    with pytest.raises(Parsed):
        _read(argv)


def test_every_block_says_its_language() -> None:
    pages = [page for page in PAGES if page != "dataset/README.md"]
    assert not [str(block) for page in pages for block in blocks(page) if not block.language]


def test_a_reason_is_given_only_to_blocks_that_could_run() -> None:
    idle = [str(b) for page in PAGES for b in blocks(page) if b.why and b.language not in ("bash", "python")]
    assert not idle


@pytest.mark.usefixtures("nothing_runs")
@pytest.mark.parametrize("block", [block for block in SHELL if mentions_us(block.text)], ids=str)
def test_command_is_one_that_the_parsers_take(block: Block, tmp_path: Path) -> None:
    found = [argv for call in calls(block, tmp_path) if (argv := own_arguments(call)) is not None]
    assert found
    for argv in found:
        check(argv)


@pytest.mark.usefixtures("nothing_runs")
def test_unknown_key_is_found() -> None:
    with pytest.raises(ValueError, match="unknown configuration key"):
        check(["--model=SASRec", "--dataset=shop", "--no_such_key=1"])
