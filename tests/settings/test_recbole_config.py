"""Copies of RecBole's configuration, and configurations made of values."""

from recbole_tslrec.configuration.config import Config
from recbole_tslrec.settings import RecBoleConfig, derive


def configure() -> Config:
    return Config("SASRec", "toy")


def test_derive_changes_the_copy_only() -> None:
    config = configure()
    derived = derive(config, epochs=1, device="elsewhere")
    assert (derived["epochs"], derived["device"], derived["seed"]) == (1, "elsewhere", 2020)
    assert (config["epochs"], str(config["device"])) == (200, str(configure()["device"]))


def test_setting_a_key_of_the_copy_leaves_the_original_alone() -> None:
    config = configure()
    derive(config)["epochs"] = 1
    assert config["epochs"] == 200


def test_configuration_of_values_has_no_other_key() -> None:
    config = RecBoleConfig({"epochs": 3})
    assert (config["epochs"], config["learning_rate"]) == (3, None)
    assert derive(config, epochs=4)["epochs"] == 4
