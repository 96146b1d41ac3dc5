"""Dots with intervals as html: a line for each row, with its label, a drawing of its own and its value.

Places in the drawings are percentages of their width, so they fit a telephone as well as a desk, with text of the
page's size; colours are those of the page's style, light or dark. matplotlib's drawings can do neither.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from recbole_tslrec.report.axis import Axis

_BESIDE = 4  # panels that share their rows' labels; with more of them the drawings would be too narrow
_DIAMOND = '<svg x="{}" y="50%" overflow="visible"><path class="paper" d="M0-5 5 0 0 5-5 0z"/></svg>'


@dataclass(frozen=True)
class Dot:
    """A row of a panel.

    Attributes:
        label: its name.
        value: where the dot is.
        text: the value as it is shown.
        low: where its interval begins; ``None`` without one.
        high: where its interval ends.
        group: a heading stands before the first of a group; none if empty.
        about: shown when the pointer rests on the row.
        kind: its class in the page's style: ``ours``, ``gain``, ``loss`` or nothing.
        paper: where the paper's value is, if it has one.
        best: whether its value is bold.
        aside: more of its value, which a narrow page leaves out.
    """

    label: str
    value: float
    text: str
    low: float | None = None
    high: float | None = None
    group: str = ""
    about: str = ""
    kind: str = ""
    paper: float | None = None
    best: bool = False
    aside: str = ""

    def ends(self) -> tuple[float | None, ...]:
        """All that has to fit onto the axis."""
        return self.value, self.low, self.high, self.paper


@dataclass(frozen=True)
class Panel:
    """Rows on one axis.

    Attributes:
        title: above them.
        dots: from the top.
        axis: below them.
        signed: whether values are differences: 0 is drawn, and the ticks have a sign.
    """

    title: str
    dots: Sequence[Dot]
    axis: Axis
    signed: bool = False


def panels_html(panels: Sequence[Panel], shares_rows: bool = False) -> str:
    """Panels beside each other where there is room, else below each other.

    Args:
        panels: in order.
        shares_rows: whether all have the same rows, so that labels need to stand beside the first one only, if they
            are few, and values are numbers alone.
    """
    kind = "panels"
    if shares_rows:
        kind = "panels numbers aligned" if len(panels) <= _BESIDE else "panels numbers"
    return "\n".join([f'<div class="{kind}">', *map(_panel_html, panels), "</div>"])


def _panel_html(panel: Panel) -> str:
    parts = ['<div class="panel">', f"<h4>{escape(panel.title)}</h4>", _lines_html(panel)]
    group = ""
    for dot in panel.dots:
        if dot.group != group:
            parts.append(f'<div class="group label">{escape(dot.group)}</div>')
            group = dot.group
        parts.append(_row_html(dot, panel.axis))
    return "\n".join([*parts, _axis_html(panel), "</div>"])


def _row_html(dot: Dot, axis: Axis) -> str:
    kind = " ".join(filter(None, ["row", dot.kind]))
    value = f"<b>{escape(dot.text)}</b>" if dot.best else escape(dot.text)
    aside = f' <span class="aside">{escape(dot.aside)}</span>' if dot.aside else ""
    return (
        f'<div class="{kind}" title="{escape(dot.about, quote=True)}"><span class="label">{escape(dot.label)}</span>'
        f'<svg class="track" aria-hidden="true">{"".join(_marks(dot, axis))}</svg>'
        f'<span class="value">{value}{aside}</span></div>'
    )


def _marks(dot: Dot, axis: Axis) -> Iterator[str]:
    if dot.low is not None and dot.high is not None:
        ends = f'x1="{axis.place(dot.low)}" x2="{axis.place(dot.high)}"'
        yield f'<line class="interval" {ends} y1="50%" y2="50%"/>'
    yield f'<circle class="dot" cx="{axis.place(dot.value)}" cy="50%" r="4"/>'
    if dot.paper is not None:
        yield _DIAMOND.format(axis.place(dot.paper))


def _lines_html(panel: Panel) -> str:
    """The ticks' lines, behind all rows."""
    places = [(panel.axis.place(tick), "zero" if panel.signed and not tick else "grid") for tick in panel.axis.ticks]
    lines = "".join(f'<line class="{kind}" x1="{place}" x2="{place}" y2="100%"/>' for place, kind in places)
    return f'<svg class="lines" aria-hidden="true">{lines}</svg>'


def _axis_html(panel: Panel) -> str:
    labels = "".join(
        f'<text x="{panel.axis.place(tick)}" y="1em">{panel.axis.label(tick, panel.signed)}</text>'
        for tick in panel.axis.ticks
    )
    return f'<div class="axis" aria-hidden="true"><svg class="track">{labels}</svg></div>'
