"""The files of a report: markdown, CSV, JSON, figures, and one ``index.html`` over all reports of a folder.

A report is a folder ``<output_dir>/<page>/``, written under another name and renamed when it is whole. It holds
``<page>.md``; for each section ``<section>.json``, with a table ``.csv``, with a figure ``.png`` and ``.svg``; and
``fragment.html``, from which ``<output_dir>/index.html`` is put together.
"""

import io
import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from recbole_tslrec.report.page import Page, ReportError, Section
from recbole_tslrec.report.rendering import FRAGMENT, fragment_html, index_html, markdown
from recbole_tslrec.store.files import beside, replace_folder, write_json
from recbole_tslrec.store.locks import locked

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # the first characters of what spreadsheets compute


def write_page(page: Page, output_dir: str | Path) -> Path:
    """Write a report's files and put ``index.html`` over all reports of the folder together.

    Args:
        page: the report; one of the same name is replaced.
        output_dir: made where it does not exist.

    Returns:
        The path of ``index.html``.

    Raises:
        ReportError: there is no section, two would write the same files, or the report's folder holds something else.
    """
    if not page.sections:
        raise ReportError(f"{page.name} has nothing to show: no run has finished; see the logs that are named above")
    slugs = [section.slug for section in page.sections]
    if len(set(slugs)) < len(slugs):
        raise ReportError(f"report {page.name} has two sections of one name among {slugs}; rename one")
    check_folder(page.name, output_dir)
    folder = Path(output_dir) / page.name
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(folder.parent / "index.lock"):  # two reports may be written at a time
        partial = beside(folder, "partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        _write_files(page, partial)
        replace_folder(partial, folder)
        index = folder.parent / "index.html"
        _write_text(index, index_html(folder.parent))
    return index


def check_folder(name: str, output_dir: str | Path) -> None:
    """Refuse a folder of another kind where a report would be written.

    Raises:
        ReportError: there is one.
    """
    folder = Path(output_dir) / name
    if folder.exists() and not (folder / FRAGMENT).exists():
        raise ReportError(f"{folder} exists and holds no report; choose another output_dir, or move it away")


def _write_files(page: Page, folder: Path) -> None:
    drawings = {}
    for section in page.sections:
        if section.table is not None:
            without_formulas(section.table).to_csv(folder / f"{section.slug}.csv", index=False)
        write_json(folder / f"{section.slug}.json", _as_json(page, section))
        if section.figure is not None:
            section.figure.savefig(folder / f"{section.slug}.png", dpi=150, bbox_inches="tight")
            drawings[section.slug] = _svg(section.figure)
            _write_text(folder / f"{section.slug}.svg", drawings[section.slug])
    _write_text(folder / f"{page.name}.md", markdown(page))
    _write_text(folder / FRAGMENT, fragment_html(page, drawings))


def without_formulas(table: pd.DataFrame) -> pd.DataFrame:
    """The table with an apostrophe before each text that a spreadsheet would take for a formula."""
    return table.map(lambda cell: f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell)


def _as_json(page: Page, section: Section) -> dict[str, Any]:
    table = None if section.table is None else json.loads(section.table.to_json(orient="records", double_precision=15))
    return {
        "page": page.name,
        "section": section.title,
        "protocol": page.protocol,
        "text": section.text,
        "note": section.note,
        "table": table,
    }


def _svg(figure: "Figure") -> str:
    """The figure as SVG, the same text for the same figure."""
    import matplotlib

    drawing = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "recbole_tslrec"}):
        figure.savefig(drawing, format="svg", bbox_inches="tight", metadata={"Date": None})
    return drawing.getvalue()


def _write_text(path: Path, text: str) -> None:
    temporary = beside(path, "tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)
