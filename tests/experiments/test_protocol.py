"""The protocol is a configuration file, and a report says where its command leaves it."""

from dataclasses import replace

from recbole_tslrec.configuration.config import find_config_file
from recbole_tslrec.experiments.protocol import deviations, quoted_protocol

FILE = find_config_file("properties/protocol.yaml")


def test_the_protocol_alone_deviates_from_itself_in_nothing(command):
    data_only = tuple(setting for setting in command.settings if setting.startswith("--data_path"))
    assert deviations(replace(command, settings=data_only, config_files=(FILE,))) == []


def test_a_setting_that_differs_is_named_with_the_protocols(command):
    command = replace(command, settings=("--epochs=3",), config_files=(FILE,))
    assert deviations(command) == ["epochs 3 (protocol: 200)"]


def test_another_split_is_named(command):
    command = replace(command, settings=("--eval_args={'split': {'RS': [0.8, 0.1, 0.1]}}",), config_files=(FILE,))
    (found,) = deviations(command)
    assert found == "eval_args split {'RS': [0.8, 0.1, 0.1]} (protocol: {'LS': 'valid_and_test'})"


def test_a_key_that_a_model_does_not_have_is_no_deviation(command):
    assert not any("embedding_size" in found for found in deviations(replace(command, settings=())))


def test_few_seeds_on_beauty_are_named(command):
    command = replace(command, datasets=("beauty",), settings=(), config_files=(FILE,))
    assert deviations(command) == ["2 seeds (protocol: at least 10 on beauty)"]
    assert deviations(replace(command, seeds=tuple(range(10)))) == []


def test_the_quote_holds_the_command_and_the_rules(command):
    text = quoted_protocol(replace(command, line="python -m recbole_tslrec report table2", config_files=(FILE,)))
    assert text.startswith("python -m recbole_tslrec report table2\nDeviates from the protocol: MAX_ITEM_LIST_LENGTH 8")
    assert "chosen on the validation items alone" in text
