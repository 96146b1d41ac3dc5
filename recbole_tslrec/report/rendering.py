"""A report as markdown and as html that stands on its own: styles, drawings and scripts are inside the file."""

import re
from collections.abc import Callable, Iterator, Mapping
from html import escape
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import pandas as pd

from recbole_tslrec.report.page import NAMES, Page, Section

FRAGMENT = "fragment.html"  # a report's part of index.html
_MARKDOWN_MARKS = {"best": "**{}**", "second": "<u>{}</u>"}
_HTML_MARKS = {"best": "<b>{}</b>", "second": "<u>{}</u>"}
_TAG = re.compile("<(?=[A-Za-z/!?])")  # what may begin one
_PLOTLY = "plotly-graph-div"  # the class of what plotly draws
_MEASURED = re.compile(r"[+-]?\d+\.\d+( ± \d+\.\d+)?\*?")  # a mean as text, with its deviation and its star
_PROSE = 40  # characters of a cell that is text to read, in more than one line
_STYLE, _SORTING = (Path(__file__).with_name(name) for name in ("style.css", "sorting.js"))


def shown(value: Any) -> str:
    """A cell as it is shown: floats with four decimals, integers with separators, nothing for a missing value."""
    if pd.isna(value):
        return ""
    if isinstance(value, Real) and not isinstance(value, bool):
        return f"{value:,}" if isinstance(value, Integral) else f"{float(value):.4f}"
    return str(value)


def _cells(section: Section, quote: Callable[[str], str], marks: Mapping[str, str]) -> Iterator[list[str]]:
    """The rows of a section's table as text, best and second marked."""
    assert section.table is not None
    for row, values in enumerate(section.table.itertuples(index=False, name=None)):
        emphasis = [section.emphasis.get((row, str(column)), "") for column in section.table.columns]
        cells = [quote(shown(value)) for value in values]
        yield [marks.get(mark, "{}").format(cell) for mark, cell in zip(emphasis, cells, strict=True)]


def _is_number(table: pd.DataFrame) -> list[bool]:
    return [pd.api.types.is_numeric_dtype(kind) and kind.kind != "b" for kind in table.dtypes]


def without_tags(text: str) -> str:
    """A text of which markdown makes no html: names are their authors' choice."""
    return _TAG.sub(r"\\<", text)


def markdown(page: Page) -> str:
    """The whole report; figures are linked by their files."""
    parts = [f"# {without_tags(page.title)}", without_tags(page.failures)]
    for section in page.sections:
        parts += [f"## {without_tags(section.title)}", without_tags(section.text)]
        if section.table is not None:
            parts.append(_markdown_table(section))
        if section.figure is not None:
            parts.append(f"![{without_tags(section.title)}]({section.slug}.svg)")
        parts.append(without_tags(section.note))
    parts.append(f"```\n{page.protocol.strip()}\n```" if page.protocol else "")
    return "\n\n".join(part for part in parts if part) + "\n"


def _markdown_table(section: Section) -> str:
    assert section.table is not None
    names = [_markdown_cell(str(name)) for name in section.table.columns]
    rules = ["---:" if number else "---" for number in _is_number(section.table)]
    rows = _cells(section, _markdown_cell, _MARKDOWN_MARKS)
    return "\n".join(f"| {' | '.join(row)} |" for row in (names, rules, *rows))


def _markdown_cell(cell: str) -> str:
    return without_tags(cell).replace("|", "\\|").replace("\n", " ")


def fragment_html(page: Page, drawings: Mapping[str, str]) -> str:
    """The report as a part of ``index.html``.

    Args:
        page: the report.
        drawings: SVG by the slug of its section.
    """
    parts = [f'<section id="{escape(page.name)}">', f"<h1>{escape(page.title)}</h1>"]
    if page.failures:
        parts.append(f"<p>{escape(page.failures)}</p>")
    for number, opening in enumerate(page.openings):
        heading = f"<h2>{escape(opening.title)}</h2>"
        parts.append(
            f"<details><summary>{heading}</summary>\n{opening.pictures}\n</details>"
            if number
            else f"{heading}\n{opening.pictures}"
        )
    for section in page.sections:
        parts += _section_html(section, drawings.get(section.slug))
    if page.protocol:
        parts.append(f"<details><summary>Protocol</summary><pre>{escape(page.protocol.strip())}</pre></details>")
    return "\n".join([*parts, "</section>"]) + "\n"


def _section_html(section: Section, drawing: str | None) -> Iterator[str]:
    yield f"<h2>{escape(section.title)}</h2>"
    yield from (f"<p>{escape(text)}</p>" for text in section.text.split("\n\n") if text.strip())
    if section.table is not None:
        yield _table_html(section)
    if section.empty_rows:
        yield f'<p class="note">Rows without any value that are left out here: {len(section.empty_rows)}.</p>'
    if section.interactive is not None:
        yield f"<figure>{section.interactive}</figure>"
    elif drawing is not None:
        label = escape(section.title, quote=True)
        yield f'<figure role="img" aria-label="{label}">{_in_colours_of_the_page(drawing)}</figure>'
    if section.note:
        yield f'<p class="note">{escape(section.note)}</p>'


def _in_colours_of_the_page(drawing: str) -> str:
    """An SVG of matplotlib whose white is the page's paper and whose black is its ink, also by night."""
    svg = drawing[drawing.index("<svg") :]
    return svg.replace("#ffffff", "var(--paper)").replace("#000000", "currentColor")


def _table_html(section: Section) -> str:
    table = section.table
    assert table is not None
    kinds = _kinds(table)
    head = "".join(
        f'<th{_class(kind)} scope="col" data-kind="{"number" if kind in ("number", "measured") else "text"}">'
        f'<button type="button">{escape(str(name))}</button></th>'
        for kind, name in zip(kinds, table, strict=True)
    )
    rows = []
    for row, cells in enumerate(_cells(section, escape, _HTML_MARKS)):
        if row not in section.empty_rows:
            columns = zip(kinds, cells, table.iloc[row], strict=True)
            rows.append(f"<tr>{''.join(_cell_html(kind, cell, value) for kind, cell, value in columns)}</tr>")
    return (
        f'<div class="scroll" tabindex="0"><table>\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{chr(10).join(rows)}\n</tbody></table></div>"
    )


def _kinds(table: pd.DataFrame) -> list[str]:
    """Of each column: ``number``, ``measured`` (text: a number, its spread), ``prose``, or nothing of words."""
    kinds = []
    for place, number in enumerate(_is_number(table)):
        cells = [str(cell) for cell in table.iloc[:, place].dropna()]
        if number:
            kinds.append("number")
        elif cells and all(map(_MEASURED.fullmatch, cells)):
            kinds.append("measured")
        else:
            kinds.append("prose" if any(len(cell) > _PROSE for cell in cells) else "")
    return kinds


def _cell_html(kind: str, cell: str, value: Any) -> str:
    """A cell; of a number also its whole value, since it is sorted by that."""
    whole = f' data-value="{value}"' if kind == "number" and not pd.isna(value) else ""
    return f"<td{_class(kind)}{whole}>{cell}</td>"


def _class(kind: str) -> str:
    return f' class="{kind}"' if kind else ""


def index_html(output_dir: Path) -> str:
    """All reports of a folder in one page, from the fragments that they left there."""
    found = {path.parent.name: path.read_text(encoding="utf-8") for path in output_dir.glob(f"*/{FRAGMENT}")}
    names = sorted(
        (name for name in found if not name.endswith((".partial", ".previous"))),
        key=lambda name: (NAMES.index(name) if name in NAMES else len(NAMES), name),
    )
    links = "\n".join(f'<a href="#{escape(name)}">{escape(name)}</a>' for name in names)
    reports = "\n".join(found[name] for name in names)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>TSLRec: reports</title>
<style>
{_STYLE.read_text(encoding="utf-8")}</style>
{_plotly_script(reports)}
</head>
<body>
<nav>
{links}
</nav>
{reports}
<script>
{_SORTING.read_text(encoding="utf-8")}</script>
</body>
</html>
"""


def _plotly_script(reports: str) -> str:
    """Plotly's own script, once and only where a report draws with it: it has 4.5 MB."""
    if _PLOTLY not in reports:
        return ""
    from plotly.offline import get_plotlyjs

    return f"<script>{get_plotlyjs()}</script>"
