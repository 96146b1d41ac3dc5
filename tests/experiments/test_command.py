"""The arguments of a report."""

import re
from pathlib import Path

import pytest

from recbole_tslrec.experiments.command import override, parse
from recbole_tslrec.experiments.trials import PAPER_ROWS, ROWS, row_of
from recbole_tslrec.settings import ConfigError


def test_what_is_no_argument_of_the_report_is_a_key_of_its_runs():
    command = parse("fig5", ["--datasets=toy,beauty", "--models=SASRec", "--seeds=1,2", "--jobs=2", "--epochs=3"])
    assert command.datasets == ("toy", "beauty")
    assert command.models == ("SASRec",)
    assert command.seeds == (1, 2)
    assert command.rows == ("Base", "CI", "TSLRec")
    assert command.jobs == 2
    assert command.settings == ("--epochs=3",)
    assert command.line == (
        "python -m recbole_tslrec report fig5 --datasets=toy,beauty --models=SASRec --seeds=1,2 --jobs=2 --epochs=3"
    )


def test_a_name_that_is_given_twice_counts_once():
    command = parse("table2", ["--datasets=toy,toy", "--models=SASRec,SASRec"])
    assert (command.datasets, command.models) == (("toy",), ("SASRec",))


def test_a_file_name_with_a_blank_stands_in_quotes(tmp_path: Path):
    (tmp_path / "a b.yaml").write_text("epochs: 3")
    command = parse("table2", [f"--config_files='{tmp_path}/a b.yaml' properties/protocol.yaml"])
    assert command.config_files == (f"{tmp_path}/a b.yaml", "properties/protocol.yaml")


def test_table2_has_the_papers_rows_and_all_of_them_on_request():
    assert parse("table2", []).rows == PAPER_ROWS
    assert parse("table2", ["--rows=all"]).rows == tuple(row for row in ROWS if row != "tfidf")  # which needs words


def test_rows_stand_in_the_order_of_the_table():
    assert parse("table2", ["--rows=TSLRec,Base"]).rows == ("Base", "TSLRec")


def test_sources_with_a_plus_between_are_a_row_behind_the_single_ones():
    command = parse("table2", ["--rows=TSLRec,sft+co_occurrence,stage0,scratch"])
    assert command.rows == ("stage0", "sft+co_occurrence", "scratch", "TSLRec")
    assert row_of("sft+co_occurrence").settings == ("--knowledge_source=sft,co_occurrence",)
    assert not row_of("sft+co_occurrence").needs_words
    assert row_of("sft+tfidf").needs_words


@pytest.mark.parametrize("row", ["dice", "sft+dice", "sft", "Base+CI"])
def test_other_rows_are_refused(row):
    with pytest.raises(ConfigError, match=rf"row \[{re.escape(row)}\] does not exist; the rows are POD, P5"):
        parse("table2", [f"--rows={row}"])


def test_values_are_lists_that_may_hold_lists():
    values = "--values=lora_target_modules: [all-linear, [q_proj, v_proj]], lora_rank: [4]"
    wanted = {"lora_target_modules": ["all-linear", ["q_proj", "v_proj"]], "lora_rank": [4]}
    assert parse("ablation", [values]).values == wanted


def test_a_configuration_file_is_found_below_the_properties():
    (file,) = parse("table2", ["--config_files=properties/protocol.yaml"]).files("toy", "SASRec")
    assert Path(file).is_file()


def test_each_dataset_and_backbone_may_have_a_file_of_its_own(tmp_path):
    (tmp_path / "toy-SASRec.yaml").write_text("learning_rate: 0.5")
    file = f"--config_files={tmp_path}/{{dataset}}-{{backbone}}.yaml"
    command = parse("table2", ["--datasets=toy", "--models=SASRec", file])
    assert command.config("TSLRecSASRec", "toy")["learning_rate"] == 0.5
    with pytest.raises(ConfigError, match=r"toy-Caser\.yaml\] does not exist"):
        parse("table2", ["--datasets=toy", "--models=SASRec,Caser", file])


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--rows=Basis", r"row \[Basis\] does not exist; the rows are POD"),
        ("--seeds=1,one", "whole numbers separated by commas"),
        ("--seeds=1,1", "each seed once"),
        ("--seeds=", "each seed once"),
        ("--jobs=0", "above 0"),
        ("--models=TSLRecSASRec", "choose its kind with --rows"),
        ("--models=SASRek", "did you mean SASRec"),
        ("--models=Sasrec", "did you mean SASRec"),
        ("--config_files=none.yaml", "does not exist"),
        ("--model=SASRec", "--models in the place of --model"),
        ("--dataset=toy", "--datasets in the place of --dataset"),
        ("--datasets=", "--datasets names none"),
    ],
)
def test_wrong_arguments_are_refused(argument, message):
    with pytest.raises(ValueError, match=message):
        parse("table2", [argument])


@pytest.mark.parametrize("values", ["group_count: 8", "group_count: [8", "group_count: []"])
def test_values_that_are_no_lists_are_refused(values):
    with pytest.raises(ConfigError, match="--values must"):
        parse("ablation", [f"--values={values}"])


def test_an_argument_takes_the_place_of_one_of_the_same_key():
    assert override(("--a=1", "--ab=2"), ("--a=3",)) == ("--ab=2", "--a=3")
