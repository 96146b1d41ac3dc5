"""Panels of dots as html: labels and values are text, marks are at their places."""

import re

from recbole_tslrec.report.axis import Axis
from recbole_tslrec.report.pictures import Dot, Panel, panels_html

AXIS = Axis(0.0, 1.0, 0.5)


def one(dot: Dot, signed: bool = False) -> str:
    return panels_html([Panel("NDCG@10", [dot], AXIS, signed)])


def test_a_row_has_its_label_its_marks_in_their_places_and_its_value():
    html = one(Dot("Base", 0.5, "0.5000", low=0.25, high=0.75, paper=0.4))
    assert '<span class="label">Base</span>' in html
    assert '<line class="interval" x1="25%" x2="75%" y1="50%" y2="50%"/>' in html
    assert '<circle class="dot" cx="50%"' in html
    assert '<svg x="40%" y="50%" overflow="visible"><path class="paper"' in html
    assert '<span class="value">0.5000</span>' in html


def test_without_an_interval_and_the_papers_value_there_is_the_dot_alone():
    html = one(Dot("Base", 0.5, "0.5000"))
    assert "interval" not in html
    assert "paper" not in html
    assert "<circle" in html


def test_a_group_has_one_heading():
    dots = [Dot(name, 0.5, "", group=group) for name, group in (("P5", ""), ("Base", "A"), ("CI", "A"), ("CI", "B"))]
    html = panels_html([Panel("", dots, AXIS)])
    assert re.findall('class="group label">(.*?)<', html) == ["A", "B"]
    assert html.index(">P5<") < html.index(">A<") < html.index(">Base<")


def test_lines_stand_at_the_ticks_and_that_of_no_difference_is_a_stronger_one():
    lines = re.findall('<line class="(zero|grid)" x1="(.*?)"', one(Dot("Base", 0.5, ""), signed=True))
    assert lines == [("zero", "0%"), ("grid", "50%"), ("grid", "100%")]
    assert "zero" not in one(Dot("Base", 0.5, ""))


def test_names_are_text():
    html = panels_html([Panel("<i>", [Dot("<b>", 0.5, "<u>", group="<p>", about='"<a>', aside="<s>")], AXIS)])
    assert not re.search("<[ibupas]>", html)


def test_few_panels_with_the_same_rows_share_their_labels_and_many_have_their_own():
    panels = [Panel("HR@10", [Dot("Base", 0.5, "0.5000")], AXIS)] * 5
    assert 'class="panels numbers aligned"' in panels_html(panels[:4], shares_rows=True)
    assert 'class="panels numbers"' in panels_html(panels, shares_rows=True)
