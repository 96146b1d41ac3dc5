"""Vectors find their items by external token; what is missing is counted."""

from types import SimpleNamespace

import pytest
import torch

from recbole_tslrec.augmentation.knowledge import check_fusion_input, fusion_knowledge, load_knowledge
from recbole_tslrec.augmentation.vector_files import VectorsError

ROWS = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])


def dataset_of(*tokens):
    """What is read of a RecBole dataset: the tokens of its items behind the pad's."""
    return SimpleNamespace(iid_field="item_id", field2id_token={"item_id": ["[PAD]", *tokens]})


@pytest.fixture
def path(make_knowledge):
    """Vectors of the items a, b and c."""
    return make_knowledge(["a", "b", "c"], ROWS).folder


def test_rows_are_matched_by_token(path):
    knowledge = load_knowledge(path, dataset_of("c", "a", "b"))
    assert torch.equal(knowledge.rows, torch.tensor([[0.0, 0.0], [5.0, 6.0], [1.0, 2.0], [3.0, 4.0]]))
    assert knowledge.present.tolist() == [False, True, True, True]


def test_missing_items_are_zero_and_counted_in_one_warning(path, caplog):
    for _ in range(2):
        knowledge = load_knowledge(path, dataset_of("x", "b", "y"))
    assert torch.equal(knowledge.rows, torch.tensor([[0.0, 0.0], [0.0, 0.0], [3.0, 4.0], [0.0, 0.0]]))
    assert knowledge.present.tolist() == [False, False, True, False]
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warnings == [f"2 of 3 items have no vector in {path}; they start from a learned default"]


def test_vectors_of_other_items_are_no_reason_to_warn(path, caplog):
    load_knowledge(path, dataset_of("b"))
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


def test_empty_overlap_shows_a_token_of_each_side(path):
    with pytest.raises(
        VectorsError, match=r"no vector of any item .*: its tokens look like 'a', the dataset's like '7'"
    ):
        load_knowledge(path, dataset_of("7", "8"))


def settings(**changes):
    pca = {"fusion_input": "pca", "fusion_pca_dimension": 1, "fusion_pca_whiten": False}
    return {"seed": 0, "knowledge_path": None, **pca, **changes}


def test_knowledge_as_it_is(path):
    knowledge = fusion_knowledge(settings(fusion_input="knowledge", knowledge_path=path), dataset_of("a", "b", "c"))
    assert torch.equal(knowledge.rows[1:], ROWS)
    assert knowledge.components is None


def test_knowledge_becomes_its_principal_components(path):
    """The three rows lie on the diagonal, sqrt(8) apart."""
    knowledge = fusion_knowledge(settings(knowledge_path=path), dataset_of("a", "b", "c"))
    torch.testing.assert_close(knowledge.rows[1:].abs(), torch.tensor([[8.0], [0.0], [8.0]]).sqrt())
    assert knowledge.components.axes.shape == (2, 1)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"fusion_input": "PCA"}, r"fusion_input \[PCA\] is not one of knowledge, pca"),
        ({"fusion_pca_dimension": 0}, r"fusion_pca_dimension must be a whole number above 0, not \[0\]"),
        ({"fusion_pca_dimension": 0.5}, r"fusion_pca_dimension must be a whole number above 0, not \[0\.5\]"),
        ({"fusion_pca_whiten": "yes"}, r"fusion_pca_whiten must be True or False, not \[yes\]"),
    ],
)
def test_wrong_settings_are_named(changed, message):
    with pytest.raises(ValueError, match=message):
        check_fusion_input(settings(**changed))
