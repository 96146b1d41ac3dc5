"""Maps of vectors: where points lie, which items they are, and what they say."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from recbole_tslrec.experiments.trials import Trial
from recbole_tslrec.report import embeddings
from recbole_tslrec.report.embeddings import Items, hover_texts, plane, sample

TRIAL = Trial("toy", "SASRec", "TSLRec", 1)


def test_few_items_are_all_drawn():
    assert sample(4, 0).tolist() == [0, 1, 2, 3]


def test_of_many_items_a_sample_is_drawn_that_depends_on_the_seed_alone():
    drawn = sample(20_000, 1)
    assert len(np.unique(drawn)) == 5_000
    assert drawn.tolist() == sample(20_000, 1).tolist()
    assert drawn.tolist() != sample(20_000, 2).tolist()


@pytest.mark.skipif(find_spec("umap") is not None, reason="UMAP is installed and takes the place of PCA")
def test_pca_keeps_the_distances_of_vectors_in_a_plane():
    rows = np.array([[0, 0, 1], [3, 0, 1], [0, 4, 1]], dtype=np.float32)
    found = plane("vectors", rows, 0)
    assert np.linalg.norm(found.places[1] - found.places[2]) == pytest.approx(5)
    assert "100% of the variance" in found.method


def test_a_point_tells_its_item_and_group():
    items = Items(["i<1>", "i2"], ["A & B", ""], np.array([0, 3]), 4)
    assert hover_texts(items) == ["i&lt;1&gt;: A &amp; B<br>group 0", "i2<br>group 3"]


def test_each_run_gives_a_figure_and_a_drawing_with_the_items_titles(
    toy_command, make_outcome, monkeypatch, tmp_path: Path
):
    tokens = [f"i{item}" for item in range(6)]
    (tmp_path / "data" / "toy").mkdir(parents=True)
    lines = [f"{token}\tTitle of {token}" for token in tokens]
    (tmp_path / "data" / "toy" / "toy.item").write_text("\n".join(["item_id:token\ttitle:token_seq", *lines]))
    generator = torch.Generator().manual_seed(0)
    stages = {
        "groups": (tokens, {"groups": torch.tensor([1, 1, 1, 1, 0, 0]), "centers": torch.zeros(2, 3)}),
        "item_embeddings": (tokens, {"item_embeddings": torch.randn(6, 3, generator=generator)}),
        "knowledge": (tokens[::-1], {"knowledge": torch.randn(6, 4, generator=generator)}),
    }
    monkeypatch.setattr(
        embeddings, "outcomes", lambda trials, command: [make_outcome(trial, stages) for trial in trials]
    )
    [section] = embeddings.build(toy_command).sections
    assert section.title == "toy SASRec"
    assert len(section.figure.axes) == 2
    assert "Title of i5" in section.interactive
    assert '"color":[0,0,0,0,1,1]' in section.interactive.replace(" ", "")  # the larger group is number 0
