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
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; background: #fff; max-width: 76rem; margin: 0 auto;
  padding: 0 1rem 4rem; }
nav { position: sticky; top: 0; background: #fff; padding: .6rem 0; border-bottom: 1px solid #ccc; z-index: 1; }
nav a { margin-right: 1.2rem; }
h1 { margin: 2.5rem 0 .5rem; scroll-margin-top: 3rem; }
h2 { margin: 2rem 0 .3rem; font-size: 1.15rem; }
p { max-width: 50rem; margin: .5rem 0; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; margin: .8rem 0; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .7rem; text-align: left; border-bottom: 1px solid #e4e4e4; white-space: nowrap; }
thead th { border-bottom: 2px solid #888; }
.number { text-align: right; }
u { text-underline-offset: .2em; }
.note { color: #555; font-size: .9rem; }
figure { margin: 1rem 0; }
figure svg { max-width: 100%; height: auto; }
details { margin: 1rem 0; color: #555; }
details pre { white-space: pre-wrap; background: #f5f5f5; padding: .8rem; font-size: .85rem; }
"""


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
    parts = [f"# {without_tags(page.title)}"]
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
    if section.interactive is not None:
        yield f"<figure>{section.interactive}</figure>"
    elif drawing is not None:
        label = escape(section.title, quote=True)
        yield f'<figure role="img" aria-label="{label}">{drawing[drawing.index("<svg") :]}</figure>'
    if section.note:
        yield f'<p class="note">{escape(section.note)}</p>'


def _table_html(section: Section) -> str:
    assert section.table is not None
    kinds = [' class="number"' if number else "" for number in _is_number(section.table)]
    head = "".join(f"<th{kind}>{escape(str(name))}</th>" for kind, name in zip(kinds, section.table, strict=True))
    rows = "\n".join(
        f"<tr>{''.join(f'<td{kind}>{cell}</td>' for kind, cell in zip(kinds, cells, strict=True))}</tr>"
        for cells in _cells(section, escape, _HTML_MARKS)
    )
    return f'<div class="scroll"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody></table></div>'


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
<style>{_STYLE}</style>
{_plotly_script(reports)}
</head>
<body>
<nav>
{links}
</nav>
{reports}
</body>
</html>
"""


def _plotly_script(reports: str) -> str:
    """Plotly's own script, once and only where a report draws with it: it has 4.5 MB."""
    if _PLOTLY not in reports:
        return ""
    from plotly.offline import get_plotlyjs

    return f"<script>{get_plotlyjs()}</script>"
