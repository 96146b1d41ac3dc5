"""Which items stand before a held-out target."""

import numpy as np
import pytest

from recbole_tslrec.data.dataset import Data
from recbole_tslrec.evaluation import held_out as module
from recbole_tslrec.evaluation.held_out import held_out


def interactions(**items):
    """``u="abc"``: user u has a, b, c in this order. The rows of the file are in reverse."""
    rows = [(user, item, float(time)) for user, history in items.items() for time, item in enumerate(history)]
    return rows[::-1]


def histories(data, part):
    """For each user: the distinct items before the target, from the oldest to the latest occurrence; the target."""
    rows = held_out(data, part)
    names = np.array(["-", *data.item_tokens])
    had = rows.distinct(slice(0, len(rows)))
    order = np.argsort(had.latest)
    found = []
    for row, user in enumerate(rows.user_tokens):
        of_row = order[had.row[order] == row]
        found.append((str(user), "".join(names[had.item[of_row]]), str(names[rows.target[row]])))
    return sorted(found)


@pytest.fixture
def toy(make_config):
    """The longest history that a model reads is two items."""
    rows = interactions(u="abcabd", v="bcdeb", w="abc", x="ab")
    return Data(make_config("SASRec", rows, MAX_ITEM_LIST_LENGTH=2))


def test_history_is_all_before_the_target_whatever_the_model_reads(toy):
    assert histories(toy, "valid") == [("u", "bca", "b"), ("v", "bcd", "e")]
    # w has three items, so a training and a test row; x has two, so a training row only
    assert histories(toy, "test") == [("u", "cab", "d"), ("v", "bcde", "b"), ("w", "ab", "c")]


def test_repeats_are_targets_that_the_user_had(toy):
    found = {part: dict(zip(rows.user_tokens, rows.repeat, strict=True)) for part, rows in parts(toy).items()}
    assert found == {"valid": {"u": True, "v": False}, "test": {"u": False, "v": True, "w": False}}


def parts(data):
    return {part: held_out(data, part) for part in ("valid", "test")}


def test_lengths_and_popularity_are_of_the_training_part(toy):
    """Training: u abca, v bcd, w ab, x ab."""
    rows = held_out(toy, "test")
    assert dict(zip(rows.user_tokens, rows.sequence_length, strict=True)) == {"u": 4, "v": 3, "w": 2}
    counts = dict(zip(toy.item_tokens, rows.popularity[1:], strict=True))
    assert counts == {"a": 4, "b": 4, "c": 2, "d": 1, "e": 0}


def test_several_rows_of_a_user_each_have_their_own_history(make_config):
    split = {"split": {"RS": [0.6, 0.2, 0.2]}, "order": "TO", "group_by": "user", "mode": "full"}
    data = Data(make_config("SASRec", interactions(u="abcdefghijk"), eval_args=split))
    assert histories(data, "valid") == [("u", "abcdefg", "h"), ("u", "abcdefgh", "i")]
    assert histories(data, "test") == [("u", "abcdefghi", "j"), ("u", "abcdefghij", "k")]
    assert held_out(data, "test").sequence_length.tolist() == [7, 7]


def test_split_without_validation_items(make_config):
    split = {"split": {"LS": "test_only"}, "order": "TO", "group_by": "user", "mode": "full"}
    data = Data(make_config("SASRec", interactions(u="abcd", v="bcda"), eval_args=split))
    assert histories(data, "valid") == []
    assert histories(data, "test") == [("u", "abc", "d"), ("v", "bcd", "a")]


@pytest.mark.parametrize("together", [1, 3, 100])
def test_slices_cover_the_rows_once(toy, monkeypatch, together):
    monkeypatch.setattr(module, "_ITEMS", together)
    rows = held_out(toy, "test")
    assert [row for part in rows.slices() for row in range(part.start, part.stop)] == [0, 1, 2]
    assert rows.repeat.sum() == 1


def test_rows_in_another_order_are_refused(toy):
    features = toy.loaders[2]._dataset.inter_feat
    features["item_id"][:] = features["item_id"].flip(0)
    with pytest.raises(ValueError, match=r"test rows of \[toy\] are not in the order of the interactions"):
        held_out(toy, "test")
