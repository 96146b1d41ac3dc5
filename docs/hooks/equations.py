"""Equations as MathML, which browsers show without a script.

They are LaTeX between dollar signs, converted when the site is built.
"""

import html
import re
from typing import Any

from latex2mathml.converter import convert

_EQUATION = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)


def on_page_content(content: str, **_: Any) -> str:
    """Replace what the extension ``arithmatex`` has marked."""
    return _EQUATION.sub(_mathml, content)


def _mathml(marked: re.Match[str]) -> str:
    block = marked[1] == "div"
    return convert(html.unescape(marked[2]), display="block" if block else "inline")
