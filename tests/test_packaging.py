"""What pip is asked for, on each Python."""

import configparser
import importlib.metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from recbole_tslrec.compatibility.recbole_import import INSTALL_RECBOLE

REPOSITORY = Path(__file__).resolve().parents[1]
PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")


def options() -> configparser.SectionProxy:
    metadata = configparser.ConfigParser()
    metadata.read(REPOSITORY / "setup.cfg")
    return metadata["options"]


def asked_for(lines: str, python: str) -> dict[str, Requirement]:
    """By name, the requirements that hold on a Python."""
    found = [Requirement(line) for line in lines.splitlines() if line.strip() and not line.startswith("#")]
    holding = [each for each in found if not each.marker or each.marker.evaluate({"python_version": python})]
    names = [each.name for each in holding]
    assert len(set(names)) == len(names), f"asked for twice on {python}"
    return dict(zip(names, holding, strict=True))


@pytest.mark.parametrize("python", PYTHONS)
def test_python_is_not_refused(python: str) -> None:
    assert f"{python}.0" in SpecifierSet(options()["python_requires"])


@pytest.mark.parametrize("python", PYTHONS)
def test_recbole_comes_where_its_ray_has_builds(python: str) -> None:
    assert ("recbole" in asked_for(options()["install_requires"], python)) == (python in ("3.10", "3.11"))


@pytest.mark.parametrize("python", PYTHONS)
def test_all_that_recbole_needs_but_ray_comes_with_the_package(python: str) -> None:
    of_recbole = asked_for("\n".join(importlib.metadata.requires("recbole") or ()), python)
    ours = asked_for(options()["install_requires"], python)
    missing = set(of_recbole) - set(ours) - {"ray", "hyperopt"}  # hyperopt is RecBole's extra, and one here
    assert not missing


@pytest.mark.parametrize("python", PYTHONS)
def test_each_pin_is_a_version_that_is_asked_for(python: str) -> None:
    pins = asked_for((REPOSITORY / "constraints.txt").read_text(encoding="utf-8"), python)
    for name, wanted in asked_for(options()["install_requires"], python).items():
        for pin in pins[name].specifier if name in pins else ():
            assert pin.version in wanted.specifier, name


def test_setup_installs_recbole_by_the_line_that_the_import_says() -> None:
    assert INSTALL_RECBOLE.removeprefix("pip install ") in (REPOSITORY / "Makefile").read_text(encoding="utf-8")
