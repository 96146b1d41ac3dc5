"""The scale of a drawing: which values it spans, where its ticks are, and where on it a value lies."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

_MARGIN = 0.06  # of the span on each side, so that no mark is cut
MINUS = "\u2212"  # as wide as a plus
MOST_TICKS = 4
_MOST_LETTERS = 20  # of all their labels, which have to fit onto a telephone
_STEPS = (1.0, 2.0, 2.5, 5.0)  # between ticks, times a power of ten


@dataclass(frozen=True)
class Axis:
    """A scale from left to right.

    Attributes:
        low: the value at its left end.
        high: the value at its right end.
        step: between ticks.
    """

    low: float
    high: float
    step: float

    @classmethod
    def around(cls, values: Iterable[float | None]) -> "Axis":
        """A scale that shows some values, with :data:`MOST_TICKS` ticks at most.

        Args:
            values: missing ones do not count.
        """
        known = [value for value in values if value is not None and math.isfinite(value)] or [0.0]
        span = max(known) - min(known) or abs(known[0]) or 1.0
        low, high = min(known) - _MARGIN * span, max(known) + _MARGIN * span
        power = 10.0 ** (math.floor(math.log10(span)) - 1)
        axes = (cls(low, high, step * scale * power) for scale in (1, 10, 100) for step in _STEPS)
        return next(axis for axis in axes if axis._fits())

    def _fits(self) -> bool:
        return len(self.ticks) <= MOST_TICKS and sum(len(self.label(tick)) for tick in self.ticks) <= _MOST_LETTERS

    @property
    def ticks(self) -> list[float]:
        """The multiples of the step between the ends."""
        first, last = math.ceil(self.low / self.step), math.floor(self.high / self.step)
        return [number * self.step for number in range(first, last + 1)]

    def label(self, tick: float, signed: bool = False) -> str:
        """A tick with as many decimals as the step needs, e.g. ``0.05``, or ``+0.05`` of a difference."""
        decimals = next(count for count in range(20) if math.isclose(round(self.step, count), self.step))
        text = f"{tick:+.{decimals}f}" if signed else f"{tick:.{decimals}f}"
        return text.replace("-", MINUS) if float(text) else "0"

    def place(self, value: float) -> str:
        """Where a value lies, e.g. ``25%``: from 0% at the left end to 100% at the right one."""
        return f"{100 * (value - self.low) / (self.high - self.low):.2f}".rstrip("0").rstrip(".") + "%"
