"""One path behind the script, ``python -m``, the command and the function; errors of the user are one line."""

import configparser
import contextlib
import logging
import os
import re
import runpy
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import setuptools

import recbole_tslrec
from recbole_tslrec import cli, quick_start
from recbole_tslrec.configuration.properties import properties_folder
from recbole_tslrec.settings import ConfigError

REPOSITORY = Path(__file__).resolve().parents[1]
NOTHING = {
    "config_file_list": [],
    "argv": [],
    "rebuild": [],
    "stop_after": None,
    "result_file": None,
}


class Table:
    """Stands for a result."""

    def table(self) -> str:
        return "the table"


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What ``run`` is called with; nothing is trained."""
    calls: list[dict[str, Any]] = []

    def run(**given: Any) -> Table:
        calls.append(given)
        return Table()

    for module in (cli, quick_start):
        monkeypatch.setattr(module, "run", run)
    return calls


@pytest.fixture
def fail(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """``fail(*argv)``: the message with which the command line ends."""

    def fail(*argv: str) -> str:
        monkeypatch.setattr(sys, "argv", ["run_recbole_tslrec.py", *argv])
        with pytest.raises(SystemExit) as ended:
            cli.console()
        assert isinstance(ended.value.code, str)  # text means exit status 1
        return ended.value.code

    return fail


# main


def test_main_reads_its_own_arguments(runs: list[dict[str, Any]]) -> None:
    what = ["--model=CICaser", "--dataset=toy", "--config_files=a.yaml b.yaml"]
    how = ["--rebuild=sft, knowledge", "--stop_after=groups", "--result_file=out/result.json"]
    cli.main([*what, *how])
    expected = {
        "model": "CICaser",
        "dataset": "toy",
        "config_file_list": ["a.yaml", "b.yaml"],
        "argv": [],
        "rebuild": ["sft", "knowledge"],
        "stop_after": "groups",
        "result_file": "out/result.json",
    }
    assert runs == [expected]


def test_main_passes_other_arguments_on_as_they_are(runs: list[dict[str, Any]]) -> None:
    keys = ["--epochs=3", "--prompt_response=a=b c", "--topk=[5, 10]", "--rebuil=sft"]
    cli.main(["--model=SASRec", *keys])
    assert runs == [{**NOTHING, "model": "SASRec", "dataset": None, "argv": keys}]


def test_without_arguments_main_runs_the_main_job(runs: list[dict[str, Any]]) -> None:
    cli.main([])
    quick = {"config_file_list": ["properties/presets/quick.yaml"]}
    assert runs == [{**NOTHING, **quick, "model": "TSLRecSASRec", "dataset": "ml-100k"}]


def test_main_prints_the_table(runs: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    cli.main([])
    assert capsys.readouterr().out.strip() == "the table"


# console


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--model=SASRec", "--sft_epoch=3"], "error: unknown configuration key [sft_epoch]; did you mean sft_epochs?"),
        (["--model=SASRec", "epochs=3"], "error: argument [epochs=3] is not of the form --key=value"),
        (["--model=TSLRecSASRek"], "error: model [TSLRecSASRek] does not exist; did you mean TSLRecSASRec"),
        (["--model=SASRec", "--config_files=nowhere.yaml"], "error: configuration file [nowhere.yaml] does not exist"),
        (
            ["--model=SASRec", "--stop_after=sftt"],
            "error: stage [sftt] does not exist; the stages are data, backbone, ",
        ),
        (
            ["--model=SASRec", "--rebuild=backbone,lora"],
            "error: stage [lora] does not exist; the stages are data, backbone,",
        ),
        (["--model=TSLRecSASRec", "--knowledge_path=nowhere"], "error: nowhere is no artifact folder"),
        (
            ["--model=CISASRec", "--knowledge_path=v.csv"],
            "error: knowledge_path [v.csv] is not read by CISASRec; leave it out, or give the item vectors to ",
        ),
        (
            ["--model=SASRec", "--stop_after=sft"],
            "error: SASRec has no stage [sft] to stop after; it has backbone, evaluation",
        ),
        (
            ["--model=SASRec", "--epochs", "1"],
            "error: argument [--epochs] is not of the form --key=value; write --epochs=1",
        ),
        (
            ["--config_files=a.yaml,b.yaml"],
            "error: configuration file [a.yaml,b.yaml] does not exist; separate several by",
        ),
    ],
    ids=[
        "key",
        "argument",
        "model",
        "file",
        "stop_after",
        "rebuild",
        "artifact",
        "vectors",
        "no stage",
        "blank",
        "comma",
    ],
)
def test_error_of_the_user_is_one_line(fail: Callable[..., str], argv: Sequence[str], message: str) -> None:
    said = fail(*argv)
    assert said.startswith(message)
    assert "\n" not in said


def test_unknown_dataset_names_the_file_that_is_expected(fail: Callable[..., str], tmp_path: Path) -> None:
    said = fail("--model=SASRec", "--dataset=nothing", f"--data_path={tmp_path}")
    assert said.startswith("error: dataset [nothing] does not exist")
    assert f"{tmp_path}/nothing/nothing.inter" in said
    assert "\n" not in said


def test_interruption_says_how_to_go_on(fail: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(argv: Sequence[str]) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "main", interrupted)
    assert fail().startswith("interrupted; finished stages are kept")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (KeyError("user_id"), "error: KeyError: 'user_id' ("),
        (IndexError("index 3 is out of bounds"), "error: IndexError: index 3 is out of bounds ("),
        (AttributeError("a\nb"), "error: AttributeError: a b ("),
        (AssertionError(), "error: AssertionError: ("),
        (MemoryError(), "error: MemoryError: ("),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("command", ["run", "recommend"])
def test_error_that_no_check_has_foreseen_is_one_line_with_its_place(
    fail: Callable[..., str], monkeypatch: pytest.MonkeyPatch, error: Exception, said: str, command: str
) -> None:
    def raise_it(argv: Sequence[str]) -> None:
        raise error

    monkeypatch.setattr(f"{cli.COMMANDS[command].module}.main", raise_it)
    found = fail(command)
    assert found.startswith(said)
    assert re.search(r"test_cli\.py:\d+\); the same command with --state=DEBUG shows where it came from$", found)
    assert "\n" not in found


def test_every_command_can_show_where_an_error_came_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["x", "data", "import", "toy", "--source=nowhere", "--state=DEBUG"])
    with pytest.raises(ValueError, match="nowhere"):
        cli.console()


def test_working_folder_that_cannot_be_written_to_is_named(
    fail: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/proc")  # read-only for every user
    said = fail("--model=SASRec", "--dataset=ml-100k")
    assert said.startswith("error: RecBole's logs cannot be written to log (")
    assert said.endswith("start in a folder of your own")


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("/proc/result.json", "error: the result cannot be written to /proc ("),
        (".", "error: result_file [.] is a folder; name a file in it"),
    ],
)
def test_a_result_that_could_not_be_written_is_refused_before_anything_runs(
    fail: Callable[..., str], monkeypatch: pytest.MonkeyPatch, place: str, said: str
) -> None:
    monkeypatch.setattr("recbole_tslrec.quick_start.run_stages", None)
    assert fail("--model=SASRec", "--dataset=ml-100k", f"--result_file={place}").startswith(said)


def test_debugging_shows_where_an_error_came_from(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sys, "argv", ["x", "--sft_epoch=3"])
    with caplog.at_level(logging.DEBUG), pytest.raises(ValueError, match="sft_epoch"):
        cli.console()


# help


@pytest.fixture
def help_of(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """``help_of(*command)``: what ``<command> --help`` prints."""

    def help_of(*command: str) -> str:
        monkeypatch.setattr(sys, "argv", ["recbole-tslrec", *command, "--help"])
        with contextlib.suppress(SystemExit):
            cli.console()
        return capsys.readouterr().out

    return help_of


def test_help_lists_the_commands_with_a_line_each(help_of: Callable[..., str]) -> None:
    assert set(cli.COMMANDS) == {"run", "data", "recommend", "extend", "export", "report", "tune"}
    lines = [line.split(maxsplit=1) for line in help_of().splitlines()]
    for name, command in cli.COMMANDS.items():
        assert [name, command.about] in lines


def test_help_says_where_the_keys_are_described(help_of: Callable[..., str]) -> None:
    assert str(properties_folder() / "overall.yaml") in help_of()


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_each_command_has_a_help(help_of: Callable[..., str], name: str) -> None:
    assert help_of(name).startswith(f"usage: python -m recbole_tslrec {name} ")


@pytest.mark.parametrize("command", [["run"], ["--model=SASRec"]], ids=["named", "without its name"])
def test_help_of_a_run_has_this_packages_keys(help_of: Callable[..., str], command: Sequence[str]) -> None:
    assert "  --sft_epochs=" in help_of(*command)


def test_a_users_folder_is_put_in_the_place_of_its_sign(
    runs: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A shell leaves --key=~/x as it is."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(
        sys, "argv", ["x", "--model=SASRec", "--result_file=~/result.json", "--knowledge_path=~/a,~/b,c~/d"]
    )
    cli.console()
    assert runs[0]["result_file"] == f"{tmp_path}/result.json"
    assert runs[0]["argv"] == [f"--knowledge_path={tmp_path}/a,{tmp_path}/b,c~/d"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, ("GRU4Rec", "toy")),
        ({"config_dict": {"model": "Caser"}}, ("Caser", "toy")),
        ({"model": "SASRec", "dataset": "other"}, ("SASRec", "other")),
    ],
)
def test_model_and_dataset_may_stand_in_the_settings(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], expected: tuple[str, str]
) -> None:
    """As RecBole takes them from there, under what is passed."""
    Path("both.yaml").write_text("model: GRU4Rec\ndataset: toy\n")
    found: list[tuple[str, str]] = []

    def config(model: str, dataset: str, *_: Any) -> None:
        found.append((model, dataset))
        raise InterruptedError

    monkeypatch.setattr(quick_start, "Config", config)
    with pytest.raises(InterruptedError):
        quick_start.run(config_file_list="both.yaml", **given)
    assert found == [expected]


def test_settings_in_the_place_of_files_are_refused() -> None:
    with pytest.raises(ConfigError, match="pass settings as config_dict"):
        quick_start.run("SASRec", "toy", {"epochs": 1})  # type: ignore[arg-type]


def test_run_may_be_named(runs: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["x", "run", "--model=SASRec", "--epochs=1"])
    cli.console()
    assert runs == [{**NOTHING, "model": "SASRec", "dataset": None, "argv": ["--epochs=1"]}]


# the entry points


def test_function_of_the_package_is_run(runs: list[dict[str, Any]]) -> None:
    recbole_tslrec.run(model="SASRec", argv=["--epochs=1"])
    assert runs == [{"model": "SASRec", "argv": ["--epochs=1"]}]


def test_module_is_the_same_command(runs: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["x", "--model=SASRec", "--epochs=1"])
    runpy.run_module("recbole_tslrec", run_name="__main__")
    assert runs == [{**NOTHING, "model": "SASRec", "dataset": None, "argv": ["--epochs=1"]}]


def test_script_is_the_same_command_from_any_folder(tmp_path: Path) -> None:
    command = [sys.executable, str(REPOSITORY / "run_recbole_tslrec.py"), "--help"]
    environment = {**os.environ, "PYTHONPATH": "", "OMP_NUM_THREADS": "1"}
    finished = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)
    assert finished.returncode == 0, finished.stderr
    for argument in ("--model", "--dataset", "--config_files", "--rebuild", "--stop_after", "--result_file"):
        assert argument in finished.stdout


# the installation


@pytest.fixture
def metadata() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(REPOSITORY / "setup.cfg")
    return parser


def test_installed_command_is_the_same(metadata: configparser.ConfigParser) -> None:
    command = metadata["options.entry_points"]["console_scripts"].strip()
    assert command == "recbole-tslrec = recbole_tslrec.cli:console"


def test_packages_are_found_and_no_others(metadata: configparser.ConfigParser) -> None:
    assert metadata["options"]["packages"] == "find:"
    found = setuptools.find_packages(str(REPOSITORY), include=[metadata["options.packages.find"]["include"]])
    folders = {path.parent for path in (REPOSITORY / "recbole_tslrec").rglob("*.py")}
    assert set(found) == {".".join(folder.relative_to(REPOSITORY).parts) for folder in folders}


def test_properties_are_inside_the_package(metadata: configparser.ConfigParser) -> None:
    """By a link in a checkout, as files in a wheel."""
    patterns = metadata["options.package_data"]["recbole_tslrec"].split()
    found = {path for pattern in patterns for path in (REPOSITORY / "recbole_tslrec").glob(pattern)}
    inside = REPOSITORY / "recbole_tslrec" / "properties"
    package = REPOSITORY / "recbole_tslrec"
    of_pages = {package / "report" / "style.css", package / "report" / "sorting.js"}
    assert found == {*inside.glob("*.yaml"), *inside.glob("*/*.yaml"), package / "py.typed", *of_pages}


def test_without_install_recbole_is_left_alone() -> None:
    code = "import sys, recbole_tslrec; print('recbole' in sys.modules); recbole_tslrec.install(); "
    code += "from recbole.utils import get_model; print(get_model('TSLRecSASRec').__name__)"
    environment = {**os.environ, "RECBOLE_TSLREC_NO_INSTALL": "1", "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-c", code]
    finished = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert finished.stdout.split() == ["False", "TSLRecSASRec"]


def test_without_install_the_own_command_still_installs(monkeypatch: pytest.MonkeyPatch) -> None:
    installed: list[bool] = []
    monkeypatch.setattr("recbole_tslrec.cli.install", lambda: installed.append(True))
    monkeypatch.setattr("sys.argv", ["recbole-tslrec", "recommend"])
    with pytest.raises(SystemExit):
        cli.console()
    assert installed
