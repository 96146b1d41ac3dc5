"""What a manifest says about where a result comes from."""

import shutil
import subprocess
from pathlib import Path

import pytest

import recbole_tslrec
from recbole_tslrec.store.provenance import git_commit


@pytest.mark.skipif(shutil.which("git") is None, reason="there is no git")
def test_commit_is_the_last_that_changed_any_file_of_the_package() -> None:
    package = Path(recbole_tslrec.__file__).parent
    asked = subprocess.run(
        ["git", "log", "-1", "--format=%H", "--", "."], cwd=package, capture_output=True, text=True, check=False
    )
    if asked.returncode or not asked.stdout:
        pytest.skip("the package does not run from a git checkout")
    assert git_commit() == asked.stdout.strip()
