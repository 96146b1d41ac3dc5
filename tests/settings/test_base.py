"""Groups of keys: read from a configuration, checked, and what of them enters a recipe."""

from dataclasses import FrozenInstanceError, dataclass

import pytest

from recbole_tslrec.settings import ConfigError, Settings, setting
from recbole_tslrec.settings.base import boolean, optional_positive_integer, positive_integer


@dataclass(frozen=True)
class Oven(Settings):
    """A group within another one."""

    degrees: int = setting(check=positive_integer)
    colour: str = setting(neutral="an oven bakes as well in any colour")


@dataclass(frozen=True)
class Bakery(Settings):
    """The outer group."""

    flour: str = setting(choices=("rye", "wheat"))
    oven: Oven
    owner: str = setting(neutral="nobody tastes it")

    def check(self):
        if self.flour == "rye" and self.oven.degrees < 200:
            raise ConfigError("flour [rye] needs 200 degrees")


GIVEN = {"flour": "wheat", "degrees": 180, "colour": "red", "owner": "Ada", "unrelated": 1}


def test_fields_are_read_by_their_names():
    bakery = Bakery.of(GIVEN)
    assert bakery == Bakery("wheat", Oven(180, "red"), "Ada")
    assert bakery.values() == {"flour": "wheat", "degrees": 180, "colour": "red", "owner": "Ada"}


def test_recipe_has_all_but_the_neutral_keys():
    assert Bakery.of(GIVEN).recipe() == {"flour": "wheat", "degrees": 180}
    assert Bakery.neutral() == {"colour": "an oven bakes as well in any colour", "owner": "nobody tastes it"}
    assert Bakery.key_names() == ["flour", "degrees", "colour", "owner"]


def test_settings_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        Bakery.of(GIVEN).flour = "rye"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("flour", "spelt", r"flour \[spelt\] is not one of rye, wheat"),
        ("degrees", 0, r"degrees must be a whole number above 0, not \[0\]"),
        ("flour", "rye", r"flour \[rye\] needs 200 degrees"),
    ],
)
def test_wrong_value_is_refused(key, value, message):
    with pytest.raises(ConfigError, match=message):
        Bakery.of({**GIVEN, key: value})


@pytest.mark.parametrize("value", [True, 1.5, -1, "3"])
def test_what_is_no_positive_integer(value):
    with pytest.raises(ConfigError, match="k must be a whole number above 0"):
        positive_integer("k", value)


def test_optional_integer_may_be_none():
    optional_positive_integer("k", None)
    with pytest.raises(ConfigError):
        optional_positive_integer("k", 0)


def test_one_is_no_boolean():
    boolean("k", False)
    with pytest.raises(ConfigError, match="k must be True or False"):
        boolean("k", 1)
