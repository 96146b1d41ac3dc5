"""Folders that nobody else can write to."""

import grp
import os
import pwd
from pathlib import Path

import pytest

from recbole_tslrec.store.private_folder import _others_can_exchange, private_folder


def test_it_is_made_for_its_user_alone_and_found_again(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        folder = private_folder(tmp_path / "private")
    finally:
        os.umask(before)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert private_folder(folder) == folder


def test_an_open_one_and_a_link_are_refused(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o750)
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to("elsewhere")
    for name in ("open", "link"):
        with pytest.raises(PermissionError, match=f"{name} holds pickles and must be a folder that you alone"):
            private_folder(tmp_path / name)


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a folder away")
def test_another_users_is_refused(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir(mode=0o700)
    os.chown(tmp_path / "theirs", 12345, -1)
    with pytest.raises(PermissionError, match="you alone"):
        private_folder(tmp_path / "theirs")


def test_one_that_others_could_exchange_is_refused_until_the_cure(tmp_path: Path) -> None:
    parent = tmp_path / "project"
    parent.mkdir()
    parent.chmod(0o777)
    folder = parent / "out" / "private"
    with pytest.raises(PermissionError, match=rf"other users may write to {parent}.*chmod \+t"):
        private_folder(folder)
    parent.chmod(0o1777)
    assert private_folder(folder) == folder


@pytest.mark.parametrize(("name", "members", "others"), [("me", [], False), ("team", [], True), ("me", ["you"], True)])
def test_the_group_of_a_user_alone_is_nobody_else(
    name: str, members: list[str], others: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o770)
    group = tmp_path.stat().st_gid
    monkeypatch.setattr(pwd, "getpwuid", lambda user: pwd.struct_passwd(("me", "x", user, group, "", "/", "")))
    monkeypatch.setattr(grp, "getgrgid", lambda number: grp.struct_group((name, "x", number, members)))
    assert _others_can_exchange(tmp_path.stat()) == others
