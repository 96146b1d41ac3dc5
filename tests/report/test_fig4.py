"""Fig. 4: C1, C2 and C3, the confusion of groups, and agreement with labels, counted by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from recbole_tslrec.experiments.trials import Trial
from recbole_tslrec.report import embeddings, fig4
from recbole_tslrec.report.fig4 import (
    Categories,
    agreement_shares,
    confusion,
    confusion_section,
    labels_section,
    purity,
)
from recbole_tslrec.settings import ConfigError

TRIAL = Trial("toy", "SASRec", "TSLRec", 1)


def distribution_of(*rows: list[float]) -> np.ndarray:
    return np.array(rows, dtype=np.float32)


def test_shares_are_counted_by_the_place_of_the_items_own_group():
    descending = [0.4, 0.3, 0.2, 0.1]
    shares = agreement_shares(np.array([0, 1, 2, 3]), distribution_of(*[descending] * 4))
    assert shares == (0.25, 0.5, 0.25)  # first; second and third; fourth


def test_of_equal_probabilities_only_the_first_is_the_inferred_category():
    assert agreement_shares(np.array([0, 1]), distribution_of([0.5, 0.5], [0.5, 0.5])) == (0.5, 0.5, 0.0)


def test_confusion_is_ordered_by_the_size_of_the_groups():
    groups, inferred = np.array([0, 1, 1, 1]), np.array([1, 1, 1, 0])
    assert confusion(groups, inferred, 2).tolist() == [[2, 1], [1, 0]]  # group 1 first


def test_purity_is_the_share_of_the_commonest_labels():
    assert purity(np.array([0, 0, 0, 1]), np.array(["a", "a", "b", "b"])) == 0.75


def test_the_table_of_a_confusion_says_what_a_group_is_taken_for():
    probabilities = np.eye(3, dtype=np.float32)[[1, 1, 0, 0, 2]]
    table = confusion_section(Categories(TRIAL, np.array([1, 1, 1, 0, 2]), probabilities, [])).table
    assert table["items"].tolist() == [3, 1, 1]
    assert table["inferred items"].tolist() == [2, 2, 1]
    assert table["C1"].tolist() == pytest.approx([2 / 3, 1, 1])
    assert table["mostly taken for"][0] == 1  # numbered by size: the group that k-means calls 0
    assert table["share"].tolist() == pytest.approx([1 / 3, 0, 0])


def test_the_better_agreement_with_labels_is_said_in_words():
    inferred_is_right = np.eye(2, dtype=np.float32)[[0, 0, 1, 1]]
    categories = Categories(TRIAL, np.array([0, 1, 0, 1]), inferred_is_right, ["a", "a", "b", "b"])
    section = labels_section([categories])
    [row] = section.table.to_dict("records")
    assert (row["NMI of groups"], row["NMI of inferred"]) == pytest.approx((0, 1))
    assert (row["purity of groups"], row["purity of inferred"]) == (0.5, 1)
    assert "toy SASRec: the inferred categories agree better with the labels" in section.text


def test_scores_that_disagree_are_both_said():
    # each item alone: purity 1, NMI 2 / (1 + 3) bits; one mistake in two groups: purity 7/8, NMI 2 * .549 / (1 + .954)
    alone = np.eye(8, dtype=np.float32)
    section = labels_section([Categories(TRIAL, np.array([0, 0, 0, 0, 1, 1, 1, 0]), alone, list("aaaabbbb"))])
    [row] = section.table.to_dict("records")
    assert (row["NMI of groups"], row["NMI of inferred"]) == pytest.approx((0.562, 0.5), abs=1e-3)
    assert "by NMI the k-means groups agree better" in section.text
    assert "by purity the inferred categories agree better" in section.text


def test_a_dataset_without_labels_is_named():
    section = labels_section([Categories(TRIAL, np.array([0, 1]), np.eye(2, dtype=np.float32), ["", ""])])
    assert section.table is None
    assert "toy" in section.note


def test_a_run_is_read_by_token(toy_command, make_outcome, monkeypatch, tmp_path: Path):
    (tmp_path / "data" / "toy").mkdir(parents=True)
    (tmp_path / "data" / "toy" / "toy.item").write_text("item_id:token\tcategories:token_seq\na\tRed\nb\tBlue\n")
    groups = {"groups": torch.tensor([0, 1]), "centers": torch.zeros(2, 3)}
    knowledge = {"category_distribution": torch.tensor([[0.1, 0.9], [0.8, 0.2]])}  # in another order
    outcome = make_outcome(TRIAL, {"groups": (["a", "b"], groups), "knowledge": (["b", "a"], knowledge)})
    monkeypatch.setattr(fig4, "outcomes", lambda trials, command: [outcome] if trials == [TRIAL] else [])
    page = fig4.build(toy_command)
    [row] = page.sections[0].table.to_dict("records")
    assert (row["K"], row["C1"], row["C2"], row["C3"]) == (2, 1, 0, 0)
    assert [section.title for section in page.sections] == [
        "Shares",
        "Agreement with item categories",
        "Confusion toy SASRec",
    ]
    assert page.sections[1].table["labels"].tolist() == [2]


@pytest.mark.parametrize("report", [fig4, embeddings])
def test_item_vectors_of_the_user_are_refused_before_anything_runs(toy_command, report):
    command = replace(toy_command, settings=(*toy_command.settings, "--knowledge_path=v.csv"))
    with pytest.raises(ConfigError, match="leaves no stage of TSLRec's own"):
        report.build(command)
