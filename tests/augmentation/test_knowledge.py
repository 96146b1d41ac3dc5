"""Vectors find their items by external token; what is missing is counted."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from recbole_tslrec.augmentation.knowledge import fusion_knowledge, load_knowledge
from recbole_tslrec.augmentation.settings import KnowledgeFusionSettings
from recbole_tslrec.augmentation.vector_rows import VectorsError
from recbole_tslrec.pipeline import run_stages

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


def warnings_of(caplog):
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


def test_missing_items_are_zero_and_counted_in_one_warning(path, caplog):
    knowledge = load_knowledge(path, dataset_of("x", "b", "y"))
    assert torch.equal(knowledge.rows, torch.tensor([[0.0, 0.0], [0.0, 0.0], [3.0, 4.0], [0.0, 0.0]]))
    assert knowledge.present.tolist() == [False, False, True, False]
    assert warnings_of(caplog) == [
        f"2 of 3 items have no vector in {path}; they start from a learned default. "
        f"2 of 3 vectors in {path} are of items that the dataset does not have"
    ]


def test_a_run_counts_them_once_for_training_and_evaluation(make_config, make_knowledge, caplog):
    """The toy dataset has thirty items."""
    given = make_knowledge([f"i{item}" for item in range(28)], torch.randn(28, 3)).folder
    run = run_stages(make_config("TSLRecSASRec", knowledge_path=str(given)))
    assert [stage.kind for stage in run.finished] == ["recommender", "evaluation"]
    counted = [message for message in warnings_of(caplog) if "learned default" in message]
    assert counted == [f"2 of 30 items have no vector in {given}; they start from a learned default"]


def test_vectors_of_other_items_are_no_reason_to_warn(path, caplog):
    load_knowledge(path, dataset_of("b"))
    assert not warnings_of(caplog)


def test_empty_overlap_shows_a_token_of_each_side(path):
    with pytest.raises(
        VectorsError, match=r"no vector of any item .*: its tokens look like 'a', the dataset's like '7'"
    ):
        load_knowledge(path, dataset_of("7", "8"))


def fused(path, dataset, components=None):
    """What is fused: the vectors, or so many of their principal components."""
    settings = KnowledgeFusionSettings("gate", components, "random")
    return fusion_knowledge(path, dataset, settings, seed=0)


def as_given(knowledge):
    """The rows of all items before they were standardised, [N, H]."""
    return (knowledge.rows[1:] * knowledge.norm + knowledge.center).float()


def test_knowledge_as_it_is(path):
    """But for its place and scale."""
    knowledge = fused(path, dataset_of("a", "b", "c"))
    torch.testing.assert_close(as_given(knowledge), ROWS)
    assert knowledge.components is None


def test_knowledge_becomes_its_principal_components(path):
    """The three rows lie on the diagonal, sqrt(8) apart."""
    knowledge = fused(path, dataset_of("a", "b", "c"), 1)
    torch.testing.assert_close(as_given(knowledge).abs(), torch.tensor([[8.0], [0.0], [8.0]]).sqrt())
    assert knowledge.components.axes.shape == (2, 1)


# What is odd about a file


def write_npy(folder, tokens, rows=None):
    """Vectors that differ, unless some are given."""
    (folder / "tokens.txt").write_text("".join(f"{token}\n" for token in tokens))
    np.save(folder / "vectors.npy", torch.eye(len(tokens)).numpy() if rows is None else rows)
    return folder / "vectors.npy"


@pytest.mark.parametrize(
    ("tokens", "items", "said"),
    [
        (["1.0", "2.0"], ["2", "1"], "2 item tokens differ from the dataset's by a decimal point"),
        (["a ", " b"], ["b", "a"], "2 item tokens differ from the dataset's by blanks around it"),
        (['"a', 'b"'], ["b", "a"], "2 item tokens differ from the dataset's by double quotes"),
        (["1.0", "1"], ["1", "2"], None),  # the item's own token goes first
        (["1.0", "1.00"], ["1", "1.000"], None),  # which of them is it?
    ],
)
def test_tokens_that_are_spelled_otherwise(tmp_path, caplog, tokens, items, said):
    path = write_npy(tmp_path, tokens)
    if tokens == ["1.0", "1.00"]:
        with pytest.raises(VectorsError, match="no vector of any item"):
            load_knowledge(path, dataset_of(*items))
        return
    knowledge = load_knowledge(path, dataset_of(*items))
    assert knowledge.rows[1].tolist() == [0.0, 1.0]
    assert [said in warning for warning in warnings_of(caplog)[:1]] == [True] if said else knowledge.present[1]


def test_vectors_that_are_all_alike_are_refused(tmp_path):
    path = write_npy(tmp_path, ["a", "b"], torch.ones(2, 3).numpy())
    with pytest.raises(VectorsError, match=r"the vectors of all 2 items in .* are the same; check what made them"):
        load_knowledge(path, dataset_of("a", "b"))


@pytest.mark.parametrize(
    ("first", "said"),
    [
        (torch.zeros(2, 8), "2 of 8 items have a vector in .* that other items have as well; those of 2 are zero"),
        (torch.ones(2, 8), "2 of 8 items have a vector in .* that other items have as well; those of 2 are the same"),
        (torch.ones(1, 8), None),
    ],
)
def test_a_quarter_of_equal_vectors_is_spoken_of(tmp_path, caplog, first, said):
    tokens = list("abcdefgh")
    path = write_npy(tmp_path, tokens, torch.cat([first, torch.arange(2.0, 66.0).view(8, 8)])[:8].numpy())
    load_knowledge(path, dataset_of(*tokens))
    assert [bool(re.search(said, warning)) for warning in warnings_of(caplog)] == [True] if said else not caplog.records


@pytest.mark.parametrize(
    ("constant", "said"), [(2, "2 of 8 columns .* for all items.* the first is column 7"), (1, "")]
)
def test_a_quarter_of_constant_columns_is_spoken_of(tmp_path, caplog, constant, said):
    rows = torch.eye(8)
    rows[:, 8 - constant :] = 3.0
    rows[:, 0] = torch.arange(8.0)  # no two rows alike
    load_knowledge(write_npy(tmp_path, list("abcdefgh"), rows.numpy()), dataset_of(*"abcdefgh"))
    assert [bool(re.search(said, warning)) for warning in warnings_of(caplog)] == [True] * bool(said)
