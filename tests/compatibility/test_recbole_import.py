"""Without RecBole, which from Python 3.12 on is installed by itself, the import says how to install it."""

import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
WITHOUT_RECBOLE = """
import importlib.metadata, sys
installed = importlib.metadata.version
def version(name):
    if name == "recbole":
        raise importlib.metadata.PackageNotFoundError(name)
    return installed(name)
importlib.metadata.version = version
sys.modules["recbole"] = None  # importing it fails
import recbole_tslrec
"""


def test_without_recbole_the_import_says_the_line_that_installs_it() -> None:
    command = [sys.executable, "-c", WITHOUT_RECBOLE]
    finished = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, check=False)
    said = finished.stderr.splitlines()[-1]
    assert said.startswith("ImportError: RecBole is not installed.")
    assert said.endswith(": pip install --no-deps recbole==1.2.1")
