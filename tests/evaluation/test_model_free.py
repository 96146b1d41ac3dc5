"""Popularity and the last items, by hand and as rows of a table."""

import pytest

from recbole_tslrec.data.dataset import Data
from recbole_tslrec.evaluation.held_out import held_out
from recbole_tslrec.evaluation.model_free import last_items, popularity
from recbole_tslrec.pipeline import run_model_free
from recbole_tslrec.result import Result

# training: u abca, v abd, w aba; the latter two of each are held out
ROWS = [
    (user, item, float(time))
    for user, items in {"u": "abcaeb", "v": "abdec", "w": "abade"}.items()
    for time, item in enumerate(items)
]


@pytest.fixture
def data(make_config):
    return Data(make_config("SASRec", ROWS))


def ranks(method, data):
    """By user: (unmasked, seen items before the target)."""
    rows = held_out(data, "test")
    found = method(rows)
    pairs = zip(found.unmasked.tolist(), found.seen_before.tolist(), strict=True)
    return dict(zip(rows.user_tokens, pairs, strict=True))


def test_popularity_counts_the_training_items(data):
    """a 5, b 3, c 1, d 1, e 0; of c and d the one with the smaller id comes first."""
    first, _ = sorted("cd", key=data.item_tokens.index)
    third = 3 if first == "c" else 4
    # u: b after a. v: c after a, b and perhaps d, all of which v had. w: e after a, b, d, which w had, and c
    assert ranks(popularity, data) == {"u": (2, 1), "v": (third, third - 1), "w": (5, 3)}


def test_last_items_come_in_the_order_of_their_last_occurrence(data):
    """u had e a c b, the latest first; v and w never had their targets, which come last of the five items."""
    assert ranks(last_items, data) == {"u": (4, 3), "v": (5, 4), "w": (5, 3)}


def test_a_row_without_training_is_a_result_like_any_other(make_config):
    config = make_config("SASRec", ROWS, eval_history="all", topk=[3, 4], valid_metric="NDCG@4")
    result = Result.of(run_model_free(config, "last_items"))
    assert result.model == "last_items"
    assert list(result.evaluations) == ["last_items"]
    hits = {mode: found["hit@3"] for mode, found in result.modes["last_items"]["test"].items()}
    # without what they had, the targets of u (kept) and v come first, and that of w second
    assert hits == {"unmasked": 0.0, "keep_target": 1.0, "strict": pytest.approx(2 / 3, abs=1e-4)}
    assert result.metrics["last_items"]["test"]["hit@4"] == pytest.approx(1 / 3, abs=1e-4)
    assert "last_items  strict" in result.table()


def test_it_is_found_again(make_config):
    runs = [run_model_free(make_config("SASRec", ROWS), "popularity") for _ in range(2)]
    assert [run.reused["evaluation of popularity"] for run in runs] == [False, True]


def test_unknown_row_and_sampled_evaluation_are_refused(make_config):
    with pytest.raises(ValueError, match=r"no model-free row \[popular\]; the rows are popularity, last_items"):
        run_model_free(make_config("SASRec"), "popular")
    with pytest.raises(ValueError, match=r"row \[popularity\] ranks all items, and eval_args has another mode"):
        run_model_free(make_config("SASRec", eval_args={"mode": "uni5"}), "popularity")
