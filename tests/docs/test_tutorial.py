"""The tutorial runs from its first cell to its last."""

from pathlib import Path

import pytest

from tests.docs.blocks import REPOSITORY

nbformat = pytest.importorskip("nbformat", reason="needs recbole_tslrec[dev]")
nbclient = pytest.importorskip("nbclient", reason="needs recbole_tslrec[dev]")


@pytest.mark.slow
def test_tutorial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    notebook = nbformat.read(REPOSITORY / "docs" / "tutorial.ipynb", as_version=4)
    client = nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    last = [cell for cell in notebook.cells if cell.cell_type == "code"][-1]
    recommended = last.outputs[-1]["data"]["text/plain"].splitlines()
    assert len(recommended) == 1 + 5  # the names of the columns, and five items
