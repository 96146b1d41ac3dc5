"""Vectors find their items by external token; what is missing is counted."""

from types import SimpleNamespace

import pytest
import torch

from recbole_tslrec.store.artifacts import Recipe, Store, write_item_table
from recbole_tslrec.augmentation.knowledge import (
    check_fusion_input,
    fusion_knowledge,
    load_groupings,
    load_groups,
    load_knowledge,
)
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


def test_groupings_follow_the_ids_of_the_dataset(tmp_path):
    """The artifact's rows are of c, a and b."""
    tensors = {"groups": torch.tensor([2, 0, 1]), "centers": torch.zeros(3, 2)}
    tensors |= {"groups_2": torch.tensor([1, 1, 0]), "centers_2": torch.zeros(2, 2)}
    artifact = Store(tmp_path).build("groups", Recipe({}), lambda folder: write_item_table(folder, "cab", tensors))
    found = load_groupings(artifact.folder, dataset_of("a", "b", "c"))
    assert [(groups.tolist(), count) for groups, count in found] == [([0, 1, 2], 3), ([1, 0, 1], 2)]
    groups, count = load_groups(artifact.folder, dataset_of("a", "b", "c"))
    assert (groups.tolist(), count) == ([0, 0, 1, 2], 3)  # the pad, and the first grouping's


def settings(**changes):
    pca = {"fusion_input": "pca", "fusion_pca_dimension": 1, "fusion_pca_whiten": False}
    ours = {"knowledge_content": "hidden", "knowledge_source": "sft"}
    return {"seed": 0, "knowledge_path": None, **ours, **pca, **changes}


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


# knowledge_content: hidden_and_categories


@pytest.fixture
def with_categories(tmp_path):
    """Vectors of the items a and b, and their shares of two categories, whose numbers are a hundred times smaller."""
    tensors = {"knowledge": torch.tensor([[300.0], [100.0]]), "category_distribution": torch.tensor([[1.0, 0], [0, 1]])}
    store = Store(tmp_path / "given")
    return store.build("knowledge", Recipe({}), lambda folder: write_item_table(folder, ["a", "b"], tensors)).folder


def test_hidden_states_and_categories_stand_side_by_side_at_one_scale(with_categories):
    """Centred: 100 and -100; (.5, -.5) and (-.5, .5), of norm 1 / sqrt(2). Each becomes of norm 1, then by token."""
    content = settings(
        fusion_input="knowledge", knowledge_path=with_categories, knowledge_content="hidden_and_categories"
    )
    knowledge = fusion_knowledge(content, dataset_of("b", "a"))
    half = 0.5**0.5
    torch.testing.assert_close(knowledge.rows, torch.tensor([[0, 0, 0], [-1, -half, half], [1, half, -half]]))


def test_control_rows_are_fused_as_they_are(with_categories):
    """They have no category distributions, whatever their settings say."""
    content = settings(
        fusion_input="knowledge",
        knowledge_path=with_categories,
        knowledge_content="hidden_and_categories",
        knowledge_source="stage0",
    )
    assert fusion_knowledge(content, dataset_of("a", "b")).rows[1:].tolist() == [[300.0], [100.0]]


def test_vectors_without_categories_are_refused(path, tmp_path):
    (tmp_path / "vectors.safetensors").touch()
    for given in (path, tmp_path / "vectors.safetensors"):
        with pytest.raises(VectorsError, match=r"has vectors only, .* set knowledge_content to hidden"):
            load_knowledge(given, dataset_of("a"), with_categories=True)
