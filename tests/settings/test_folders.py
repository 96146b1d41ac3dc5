"""A folder that cannot be written to is known before anything is computed."""

from pathlib import Path

import pytest

from recbole_tslrec.settings import ConfigError
from recbole_tslrec.settings.folders import check_writable


def test_folder_that_can_be_made_is_not_made(tmp_path: Path) -> None:
    check_writable(tmp_path / "a" / "b", "artifacts", "")
    assert not list(tmp_path.iterdir())


def test_file_in_the_place_of_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    with pytest.raises(ConfigError, match=r"artifacts cannot be written to .*a/b \(.* at .*a\); name another"):
        check_writable(tmp_path / "a" / "b", "artifacts", "name another")


def test_folder_that_is_not_there_to_be_written_to_is_named() -> None:
    with pytest.raises(ConfigError, match=r"logs cannot be written to /proc/log \(.* at /proc\)"):
        check_writable(Path("/proc/log"), "logs", "")  # read-only for every user
