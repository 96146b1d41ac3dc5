"""The base of all settings: a frozen dataclass that is read from RecBole's configuration and checked there.

A stage receives its settings and nothing else of the configuration, so what it can read is what enters its recipe.
"""

import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from typing_extensions import Self


class ConfigError(ValueError):
    """A key, value or file of the configuration is wrong."""


Check = Callable[[str, Any], None]  # key and value; raises ConfigError


def setting(neutral: str = "", choices: Sequence[Any] = (), check: Check | None = None) -> Any:
    """A field of :class:`Settings`: the configuration's key of the same name.

    Args:
        neutral: why the key cannot change a result, so that the recipe leaves it out; empty where it can.
        choices: the values that it may have; any where there are none.
        check: raises ``ConfigError`` for a wrong value.
    """
    return field(metadata={"neutral": neutral, "choices": tuple(choices), "check": check})


@dataclass(frozen=True)
class Settings:
    """A group of keys; a field whose type is itself a ``Settings`` is a group within."""

    @classmethod
    def of(cls, config: Any) -> Self:
        """Read every field from RecBole's configuration, or from any mapping that has the keys.

        Raises:
            ConfigError: a value is none that its key may have.
        """
        groups = _groups(cls)
        return cls(**{f.name: groups[f.name].of(config) if f.name in groups else config[f.name] for f in fields(cls)})

    @classmethod
    def of_recipe(cls, recipe: Mapping[str, Any], running: Mapping[str, Any]) -> Self:
        """Those that an artifact was made with; what cannot change a result is that of the running program.

        Args:
            recipe: the ``settings`` of the artifact's manifest.
            running: the configuration of the program.
        """
        return cls.of({**{key: running[key] for key in cls.key_names()}, **recipe})

    def __post_init__(self) -> None:
        for each in fields(self):
            key, value, choices = each.name, getattr(self, each.name), each.metadata.get("choices")
            if choices and value not in choices:
                named = ", ".join(str(choice) for choice in choices if choice is not None)
                raise ConfigError(f"{key} [{value}] is not one of {named}")
            check = each.metadata.get("check")
            if check:
                check(key, value)
        self.check()

    def check(self) -> None:
        """Refuse values that do not go together, or that only the class can judge.

        Raises:
            ConfigError: names the key, the value and the cure.
        """

    def recipe(self) -> dict[str, Any]:
        """The keys that decide the result, and their values."""
        found: dict[str, Any] = {}
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, Settings):
                found.update(value.recipe())
            elif not each.metadata.get("neutral"):
                found[each.name] = value
        return found

    def values(self) -> dict[str, Any]:
        """Every key and its value."""
        found: dict[str, Any] = {}
        for each in fields(self):
            value = getattr(self, each.name)
            found.update(value.values() if isinstance(value, Settings) else {each.name: value})
        return found

    @classmethod
    def key_names(cls) -> list[str]:
        """Every key, those of groups within too."""
        groups = _groups(cls)
        return [key for f in fields(cls) for key in (groups[f.name].key_names() if f.name in groups else [f.name])]

    @classmethod
    def neutral(cls) -> dict[str, str]:
        """The keys that cannot change a result, and why."""
        return dict(_neutral(cls))


def _groups(cls: type[Settings]) -> dict[str, type[Settings]]:
    """The fields that are settings themselves, and their classes."""
    hints = typing.get_type_hints(cls)
    types = {each.name: hints[each.name] for each in fields(cls)}
    return {name: it for name, it in types.items() if isinstance(it, type) and issubclass(it, Settings)}


def _neutral(cls: type[Settings]) -> Iterator[tuple[str, str]]:
    groups = _groups(cls)
    for each in fields(cls):
        if each.name in groups:
            yield from _neutral(groups[each.name])
        elif each.metadata.get("neutral"):
            yield each.name, each.metadata["neutral"]


def positive_integer(key: str, value: Any) -> None:
    """Refuse what is no whole number above 0."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigError(f"{key} must be a whole number above 0, not [{value}]")


def optional_positive_integer(key: str, value: Any) -> None:
    """Refuse what is neither ``None`` nor a whole number above 0."""
    if value is not None:
        positive_integer(key, value)


def listed(value: str | Sequence[str]) -> list[str]:
    """One name, several with commas between, or a list of names."""
    return [name.strip() for name in (value.split(",") if isinstance(value, str) else value)]


def boolean(key: str, value: Any) -> None:
    """Refuse what is neither ``True`` nor ``False``."""
    if not isinstance(value, bool):
        raise ConfigError(f"{key} must be True or False, not [{value}]")
