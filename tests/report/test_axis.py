"""Ticks at round numbers, places as percentages."""

import pytest

from recbole_tslrec.report.axis import Axis


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([0.0, 1.0], ["0", "0.5", "1.0"]),  # in steps of .25 there would be five
        ([0.031, 0.044], ["0.035", "0.040"]),
        ([-0.0383, 0.0373], ["−0.025", "0", "0.025"]),  # noqa: RUF001
        ([200, 900], ["200", "400", "600", "800"]),
        ([0.0608, 0.0616], ["0.0610", "0.0615"]),  # three labels such as 0.06125 would not fit onto a telephone
    ],
)
def test_ticks_are_multiples_of_a_round_step_with_its_decimals(values, ticks):
    axis = Axis.around(values)
    assert [axis.label(tick) for tick in axis.ticks] == ticks


def test_ticks_of_differences_have_a_sign():
    axis = Axis.around([-0.01, 0.01])
    assert [axis.label(tick, signed=True) for tick in axis.ticks] == ["−0.01", "0", "+0.01"]  # noqa: RUF001


def test_places_are_shares_of_the_width_with_a_margin_at_both_ends():
    axis = Axis.around([None, 1.0, float("nan"), 3.0])  # the margin is .12 of 2.24
    assert [axis.place(value) for value in (0.88, 1.0, 2.0, 3.12)] == ["0%", "5.36%", "50%", "100%"]


@pytest.mark.parametrize("values", [[0.04], [0.0], [], [None]])
def test_a_single_value_or_none_has_an_axis_too(values):
    axis = Axis.around(values)
    assert axis.low < axis.high
    assert axis.ticks
