"""Vectors from another source as knowledge: what of a run depends on them, and what is refused before it starts."""

import numpy as np
import pytest
import torch

from recbole_tslrec.augmentation.vector_rows import VectorsError
from recbole_tslrec.pipeline import run_stages

ITEMS = 30  # of the toy dataset


@pytest.fixture
def vectors(tmp_path):
    """A file with a vector of width 5 for each item of the toy dataset but two."""
    folder = tmp_path / "vectors"
    folder.mkdir()
    np.save(folder / "text.npy", torch.randn(ITEMS - 2, 5, generator=torch.Generator().manual_seed(0)).numpy())
    (folder / "tokens.txt").write_text("\n".join(f"i{item}" for item in range(ITEMS - 2)))
    return folder / "text.npy"


@pytest.fixture
def reused(make_config):
    """`reused(path, **settings)`: the stages of a run, and whether each was found again."""
    return lambda path, **changed: run_stages(make_config("TSLRecSASRec", knowledge_path=str(path), **changed)).reused


BUILT = {"recommender": False, "evaluation of TSLRec": False}
FOUND = {"recommender": True, "evaluation of TSLRec": True}


def test_file_is_known_by_its_contents(reused, vectors):
    assert reused(vectors) == BUILT
    moved = vectors.rename(vectors.with_name("elsewhere.npy"))
    assert reused(moved) == FOUND
    np.save(moved, np.load(moved) + np.eye(ITEMS - 2, 5, dtype=np.float32))
    assert reused(moved) == BUILT


def test_other_components_are_trained_anew(reused, vectors):
    assert reused(vectors) == BUILT
    assert reused(vectors, fusion_pca_dimension=3) == BUILT
    assert reused(vectors, fusion_pca_dimension=3) == FOUND
    assert reused(vectors, fusion_pca_dimension=2) == BUILT


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"fusion_pca_dimension": -1}, "fusion_pca_dimension must be"),
    ],
)
def test_wrong_settings_are_refused_by_the_configuration(make_config, changed, message):
    with pytest.raises(ValueError, match=message):
        make_config("TSLRecSASRec", **changed)


def test_wrong_file_is_refused_before_the_dataset_is_read(make_config, vectors):
    (vectors.parent / "tokens.txt").unlink()
    config = make_config("TSLRecSASRec", knowledge_path=str(vectors), load_col={"inter": ["no such column"]})
    with pytest.raises(VectorsError, match=r"tokens\.txt is missing"):
        run_stages(config)
