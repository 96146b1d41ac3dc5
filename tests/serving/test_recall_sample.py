"""The users on whom an index's recall is counted."""

from recbole_tslrec.serving.histories import History
from recbole_tslrec.serving.recall_sample import RecallSample


def test_recall_is_the_mean_share_of_the_exact_items_that_were_found() -> None:
    sample = RecallSample(2)
    assert len(list(sample.watch([History("line 1", "a"), History("line 2", "b")]))) == 2
    sample.add("a", ["i1", "i2"])
    sample.add("b", ["i1", "i3"])
    assert sample.recall([("a", ["i2", "i1"]), ("b", ["i1", "i2"])]) == 0.75


def test_the_sample_is_spread_over_all_users() -> None:
    """600 of them: every third."""
    sample = RecallSample(600)
    list(sample.watch(History(f"line {n}", str(n)) for n in range(600)))
    assert [history.user for history in sample.histories] == [str(n) for n in range(0, 600, 3)]
