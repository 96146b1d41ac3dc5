"""The training part of the users' histories, in exact order, and the fingerprint of a dataset."""

from collections.abc import Callable
from typing import Any

import pytest

from recbole_tslrec.data.dataset import Data
from recbole_tslrec.data.histories import Histories, hold_out_users

START = 881250949.0  # float32 knows multiples of 64 s here
Rows = list[tuple[str, str, float]]


@pytest.fixture
def load(make_config: Callable[..., Any]) -> Callable[..., Data]:
    def load(rows: Rows, **settings: Any) -> Data:
        return Data(make_config("SASRec", rows, **settings))

    return load


def by_user(data: Data, histories: Histories) -> dict[str, list[str]]:
    return {
        user: [data.item_tokens[item - 1] for item in histories[row]] for row, user in enumerate(histories.user_tokens)
    }


def in_order(**users: str) -> Rows:
    """One-letter items, ten seconds apart."""
    return [(user, item, START + 10 * step) for user, items in users.items() for step, item in enumerate(items)]


def test_histories_are_in_time_order_whatever_the_order_of_the_file(load: Callable[..., Data]) -> None:
    rows = in_order(u="abcd", v="dbca")
    mixed = [rows[place] for place in (5, 2, 0, 7, 3, 6, 1, 4)]
    data = load(mixed, normalize_all=False)
    assert by_user(data, data.full) == {"u": ["a", "b", "c", "d"], "v": ["d", "b", "c", "a"]}


def test_equal_times_keep_the_order_of_the_file(load: Callable[..., Data]) -> None:
    data = load([("u", item, START) for item in "dacb"])
    assert by_user(data, data.full) == {"u": ["d", "a", "c", "b"]}


@pytest.mark.parametrize("keep", ["first", "last"])
def test_equal_times_keep_the_order_of_the_file_where_repeated_ones_are_dropped(
    load: Callable[..., Data], keep: str
) -> None:
    """So many that a sort which is not stable shuffles them."""
    items = [f"i{place * 37 % 101}" for place in range(101)]
    rows = [("u", item, START) for item in [*items, items[0]]]
    data = load(rows, rm_dup_inter=keep)
    assert by_user(data, data.full) == {"u": items if keep == "first" else [*items[1:], items[0]]}


def test_training_part_leaves_out_the_last_two(load: Callable[..., Data]) -> None:
    data = load(in_order(u="abcd", v="edcbaf"))
    assert by_user(data, data.histories) == {"u": ["a", "b"], "v": ["e", "d", "c", "b"]}


def test_training_part_of_three_leaves_out_the_last_one(load: Callable[..., Data]) -> None:
    data = load(in_order(u="abcd", v="abc"))
    assert by_user(data, data.histories)["v"] == ["a", "b"]


def test_training_part_of_two_is_both(load: Callable[..., Data]) -> None:
    data = load(in_order(u="abcd", v="ba"))
    assert by_user(data, data.histories)["v"] == ["b", "a"]


def test_training_part_never_holds_a_validation_or_test_item(load: Callable[..., Data]) -> None:
    data = load(in_order(u="abcd", v="efgh", w="ijkl"))
    held_out = {int(item) for loader in data.loaders[1:] for item in loader._dataset.inter_feat["item_id"]}
    assert len(held_out) == 6
    assert not held_out & set(data.histories.items.tolist())


def test_training_part_is_taken_in_exact_time_order(load: Callable[..., Data]) -> None:
    data = load(in_order(u="abcde", v="edcba")[::-1], normalize_all=False)
    assert by_user(data, data.histories) == {"u": ["a", "b", "c"], "v": ["e", "d", "c"]}


def test_user_with_a_single_interaction_is_refused_with_the_cure(load: Callable[..., Data]) -> None:
    data = load(in_order(u="abcd", lonely="a"))
    with pytest.raises(ValueError, match=r"1 of 2 users .*'lonely' with 1 interaction.*user_inter_num_interval="):
        data.histories  # noqa: B018


def test_the_cure_for_a_single_interaction_works(load: Callable[..., Data]) -> None:
    data = load(in_order(u="abcd", lonely="a"), user_inter_num_interval="[3,inf)")
    assert by_user(data, data.histories) == {"u": ["a", "b"]}


def test_repeated_items_are_kept(load: Callable[..., Data]) -> None:
    data = load(in_order(u="aabaab"))
    assert by_user(data, data.histories) == {"u": ["a", "a", "b", "a"]}


def test_histories_longer_than_the_models_are_not_cut(load: Callable[..., Data]) -> None:
    data = load(in_order(u="abcdefghij"), MAX_ITEM_LIST_LENGTH=2)
    assert by_user(data, data.histories) == {"u": list("abcdefgh")}


def test_histories_know_their_lengths(load: Callable[..., Data]) -> None:
    data = load(in_order(u="abcd", v="edcbaf"))
    assert len(data.histories) == 2
    assert data.full.lengths.tolist() == [4, 6]
    assert data.histories.lengths.tolist() == [2, 4]


# fingerprint


def test_description_counts_what_is_there(load: Callable[..., Data]) -> None:
    description = load(in_order(u="abca", v="ab")).description
    counts = {key: description[key] for key in ("name", "users", "items", "interactions")}
    assert counts == {"name": "toy", "users": 2, "items": 3, "interactions": 6}


def test_fingerprint_is_the_same_for_the_same_data(load: Callable[..., Data]) -> None:
    one, two = load(in_order(u="abcd")), load(in_order(u="abcd"), MAX_ITEM_LIST_LENGTH=2)
    assert one.description == two.description


@pytest.mark.parametrize(
    "other",
    [in_order(u="abcd", v="abcb"), in_order(u="abcd", w="abca"), in_order(u="abcx", v="abca"), in_order(u="abcd")],
    ids=["one item", "a user's name", "an item's name", "a user less"],
)
def test_fingerprint_changes_with(load: Callable[..., Data], other: Rows) -> None:
    fingerprint = load(in_order(u="abcd", v="abca")).description["fingerprint"]
    assert load(other).description["fingerprint"] != fingerprint


def test_fingerprint_changes_when_two_items_change_places_in_time(load: Callable[..., Data]) -> None:
    rows = [("u", "a", 1.0), ("u", "b", 2.0), ("u", "c", 3.0), ("u", "d", 4.0)]
    swapped = [("u", "a", 1.0), ("u", "b", 3.0), ("u", "c", 2.0), ("u", "d", 4.0)]
    assert load(rows).description["fingerprint"] != load(swapped).description["fingerprint"]


def test_fingerprint_changes_with_times_that_leave_the_order(load: Callable[..., Data]) -> None:
    """A split by the times of all users is another one then."""
    rows = in_order(u="abcd", v="abca")
    later = [(user, item, time * (3 if user == "v" else 1)) for user, item, time in rows]
    assert load(rows).description["fingerprint"] != load(later).description["fingerprint"]


def test_fingerprint_does_not_depend_on_the_order_of_rows_that_leaves_the_numbering(load: Callable[..., Data]) -> None:
    rows = in_order(u="abcd", v="dbca")
    other = [rows[place] for place in (0, 1, 2, 3, 7, 5, 4, 6)]  # first appearances stay: u v, a b c d
    assert load(other).description["fingerprint"] == load(rows).description["fingerprint"]


def test_fingerprint_depends_on_the_numbering_of_the_items(load: Callable[..., Data]) -> None:
    # RecBole numbers items by their first appearance in the file, and the rows of a trained model follow the numbers
    rows = in_order(u="abcd", v="dbca")
    assert load(rows[::-1]).description["fingerprint"] != load(rows).description["fingerprint"]


# users to choose the epoch of fine-tuning by


def test_held_out_users_are_disjoint_and_neither_part_is_empty() -> None:
    train, valid = hold_out_users(1000, 0.05, seed=3)
    assert len(valid) == 50
    assert sorted([*train, *valid]) == list(range(1000))
    assert [len(part) for part in hold_out_users(2, 0.05, seed=0)] == [1, 1]


@pytest.mark.parametrize(("users", "ratio"), [(1, 0.5), (10, 0.0), (10, 1.0)])
def test_users_that_cannot_be_split_are_refused(users: int, ratio: float) -> None:
    with pytest.raises(ValueError, match="--sft_valid_ratio"):
        hold_out_users(users, ratio, seed=0)
