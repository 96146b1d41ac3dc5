"""A page leaves every format, whole, and index.html shows all pages of its folder without the network."""

import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recbole_tslrec.report import main
from recbole_tslrec.report.page import Opening, Page, ReportError, Section
from recbole_tslrec.report.plots import new_figure
from recbole_tslrec.report.rendering import shown
from recbole_tslrec.report.writing import write_page


def a_figure():
    figure, [[axes]] = new_figure(2, 2)
    axes.plot([0, 1], [0, 1])
    return figure


def a_page(name: str = "table2", title: str = "Results") -> Page:
    table = pd.DataFrame({"row": ["Base", "CI | <sum>"], "users": [22363, 5], "NDCG@10": [0.03149, None]})
    emphasis = {(0, "NDCG@10"): "best", (1, "users"): "second"}
    section = Section("Beauty, unmasked", "Two\n\nparagraphs", table, a_figure(), emphasis=emphasis, note="a < b")
    return Page(name, title, "--seeds=1,2 <all>", [section, Section("Words only", "nothing else")])


def test_a_page_leaves_its_tables_and_figures_in_every_format(tmp_path: Path):
    write_page(a_page(), tmp_path)
    names = {path.name for path in (tmp_path / "table2").iterdir()}
    of_section = {f"beauty-unmasked.{ending}" for ending in ("csv", "json", "png", "svg")}
    assert names == {*of_section, "words-only.json", "table2.md", "fragment.html"}
    assert not list(tmp_path.rglob("*.tmp"))


def test_csv_and_json_keep_the_numbers_whole(tmp_path: Path):
    write_page(a_page(), tmp_path)
    assert pd.read_csv(tmp_path / "table2" / "beauty-unmasked.csv")["NDCG@10"][0] == 0.03149
    read = json.loads((tmp_path / "table2" / "beauty-unmasked.json").read_text())
    assert read["table"][1] == {"row": "CI | <sum>", "users": 5, "NDCG@10": None}
    assert read["protocol"] == "--seeds=1,2 <all>"


def test_markdown_marks_best_and_second(tmp_path: Path):
    write_page(a_page(), tmp_path)
    text = (tmp_path / "table2" / "table2.md").read_text()
    assert "| Base | 22,363 | **0.0315** |" in text
    assert r"| CI \| \<sum> | <u>5</u> |  |" in text
    assert "![Beauty, unmasked](beauty-unmasked.svg)" in text


def test_runs_that_failed_are_named_on_the_page(tmp_path: Path):
    index = write_page(replace(a_page(), failed=["toy CI <x>"]), tmp_path)
    assert "Failed, and not in the figures: toy CI &lt;x>." in index.read_text().replace("&gt;", ">")
    assert "Failed, and not in the figures: toy CI \\<x>." in (tmp_path / "table2" / "table2.md").read_text()


def test_csv_holds_no_formulas(tmp_path: Path):
    names = ["=1+1", "+1", "-1", "@SUM(A1)", "a=b", "-"]
    table = pd.DataFrame({"item": names, "gain": [-0.5] * len(names)})
    write_page(Page("table2", "Results", "", [Section("Beauty", table=table)]), tmp_path)
    read = pd.read_csv(tmp_path / "table2" / "beauty.csv")
    assert list(read["item"]) == ["'=1+1", "'+1", "'-1", "'@SUM(A1)", "a=b", "'-"]
    assert list(read["gain"]) == [-0.5] * len(names)


def test_markdown_holds_no_html_of_others(tmp_path: Path):
    name = "<script>alert(1)</script>"
    section = Section(f"Of {name}", f"{name}, p < .05", note=name)
    write_page(Page("table2", name, "", [section]), tmp_path)
    text = (tmp_path / "table2" / "table2.md").read_text()
    assert not re.search(r"(?<!\\)<[a-z/]", text)
    assert "p < .05" in text


def test_html_escapes_text_and_marks_cells(tmp_path: Path):
    text = write_page(a_page(), tmp_path).read_text()
    assert "CI | &lt;sum&gt;" in text
    assert "--seeds=1,2 &lt;all&gt;" in text
    assert "a &lt; b" in text
    assert "<b>0.0315</b></td>" in text
    assert "<u>5</u></td>" in text


def test_columns_are_sorted_by_buttons_and_numbers_by_their_whole_value(tmp_path: Path):
    text = write_page(a_page(), tmp_path).read_text()
    heads = re.findall(r'<th.*? data-kind="(.*?)"><button type="button">(.*?)</button></th>', text)
    assert heads == [("text", "row"), ("number", "users"), ("number", "NDCG@10")]
    assert '<td class="number" data-value="0.03149"><b>0.0315</b></td>' in text
    assert '<td class="number"></td>' in text


def test_a_mean_with_its_deviation_is_sorted_as_a_number(tmp_path: Path):
    table = pd.DataFrame({"HR@10": ["0.0409 ± 0.0012*", None, "0.1000"], "remark": ["0.1 of users", None, "x" * 41]})
    text = write_page(Page("table2", "", "", [Section("A", table=table)]), tmp_path).read_text()
    assert re.findall(r'<th( class="\w+")? scope="col" data-kind="(.*?)">', text) == [
        (' class="measured"', "number"),
        (' class="prose"', "text"),
    ]


@pytest.mark.skipif(shutil.which("chromium") is None, reason="there is no chromium")
def test_a_click_sorts_numbers_from_the_largest_and_words_from_the_first(tmp_path: Path):
    table = pd.DataFrame({"row": ["b", "c", "a10", "a9"], "n": [9, None, 10, 1_000]})
    index = write_page(Page("table2", "", "", [Section("A", table=table)]), tmp_path)

    def rows(*clicks: int) -> list[str]:
        script = "".join(f"document.querySelectorAll('th button')[{column}].click();" for column in clicks)
        page = tmp_path / "clicked.html"
        page.write_text(index.read_text().replace("</body>", f"<script>{script}</script></body>"))
        command = ["chromium", "--headless", "--no-sandbox", "--dump-dom", page.as_uri()]
        shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return re.findall("<tr><td>(.*?)</td>", shown)

    assert rows(1) == ["a9", "a10", "b", "c"]
    assert rows(1, 1) == ["b", "a10", "a9", "c"]  # what is missing stays behind
    assert rows(1, 1, 1) == ["b", "c", "a10", "a9"]
    assert rows(1, 0) == ["a9", "a10", "b", "c"]


def test_empty_rows_are_left_out_of_the_html_alone(tmp_path: Path):
    table = pd.DataFrame({"row": ["Base", "CI"], "mean": [0.5, None]})
    index = write_page(Page("table2", "", "", [Section("A", table=table, empty_rows=[1])]), tmp_path)
    assert re.findall("<tr><td>(.*?)</td>", index.read_text()) == ["Base"]
    assert "Rows without any value that are left out here: 1." in index.read_text()
    assert list(pd.read_csv(tmp_path / "table2" / "a.csv")["row"]) == ["Base", "CI"]
    assert "| CI |  |" in (tmp_path / "table2" / "table2.md").read_text()


def test_a_page_opens_with_its_pictures_and_folds_all_but_the_first(tmp_path: Path):
    openings = [Opening("Mode <a>", "<svg>1</svg>"), Opening("Mode b", "<svg>2</svg>")]
    index = write_page(Page("table2", "Results", "", [Section("Words")], openings), tmp_path)
    found = re.findall(r"<h\d>.*?</h\d>|<svg>\d|<details>|</details>", index.read_text())
    first = ["<h1>Results</h1>", "<h2>Mode &lt;a&gt;</h2>", "<svg>1"]
    assert found == [*first, "<details>", "<h2>Mode b</h2>", "<svg>2", "</details>", "<h2>Words</h2>"]
    assert "Mode b" not in (tmp_path / "table2" / "table2.md").read_text()


def test_drawings_take_the_colours_of_the_page(tmp_path: Path):
    text = write_page(a_page(), tmp_path).read_text()
    drawing = text[text.index("<figure") : text.index("</figure>")]
    assert "currentColor" in drawing
    assert "var(--paper)" in drawing
    assert not re.search("#(f{6}|0{6})", drawing)
    assert "#ffffff" in (tmp_path / "table2" / "beauty-unmasked.svg").read_text()


def test_index_shows_all_pages_of_the_folder_in_the_papers_order(tmp_path: Path):
    write_page(a_page("table2", "Second"), tmp_path)
    write_page(a_page("mine", "Mine"), tmp_path)
    text = write_page(a_page("table1", "First"), tmp_path).read_text()
    assert re.findall("<h1>(.*?)</h1>", text) == ["First", "Second", "Mine"]


def test_a_page_of_the_same_name_is_replaced(tmp_path: Path):
    write_page(a_page(), tmp_path)
    text = write_page(Page("table2", "Again", "", [Section("Other")]), tmp_path).read_text()
    assert re.findall("<h1>(.*?)</h1>", text) == ["Again"]
    assert not (tmp_path / "table2" / "beauty-unmasked.csv").exists()


def test_index_loads_nothing(tmp_path: Path):
    drawn = '<div class="plotly-graph-div"></div>'
    text = write_page(Page("maps", "Maps", "", [*a_page().sections, Section("Map", interactive=drawn)]), tmp_path)
    outside = re.findall(r"<(?:link|img|iframe)\b[^>]*|<script[^>]*\bsrc\b", text.read_text())
    assert not outside


@pytest.mark.parametrize(("interactive", "has_script"), [(None, False), ('<div class="plotly-graph-div"></div>', True)])
def test_plotlys_script_is_there_only_where_it_draws(tmp_path: Path, interactive: str | None, has_script: bool):
    index = write_page(Page("maps", "Maps", "", [Section("Map", interactive=interactive)]), tmp_path)
    assert (index.stat().st_size > 1_000_000) == has_script


def test_a_section_with_a_drawing_of_plotly_keeps_its_figure_in_the_files_only(tmp_path: Path):
    index = write_page(
        Page("maps", "Maps", "", [Section("Map", figure=a_figure(), interactive="<b>drawn</b>")]), tmp_path
    )
    assert (tmp_path / "maps" / "map.svg").exists()
    assert "<b>drawn</b>" in index.read_text()
    assert "<svg" not in index.read_text()


def test_equal_figures_make_equal_files(tmp_path: Path):
    first, second = (write_page(a_page(), tmp_path / name).parent / "table2" for name in "ab")
    assert (first / "beauty-unmasked.svg").read_bytes() == (second / "beauty-unmasked.svg").read_bytes()


def test_two_sections_of_one_name_are_refused(tmp_path: Path):
    with pytest.raises(ReportError, match="two sections"):
        write_page(Page("table2", "", "", [Section("A b"), Section("a-B")]), tmp_path)


def test_a_page_without_a_section_is_refused_and_leaves_a_former_one(tmp_path: Path):
    index = write_page(a_page(), tmp_path)
    with pytest.raises(ReportError, match="no run has finished"):
        write_page(Page("table2", "", "", []), tmp_path)
    assert "Results" in index.read_text()


def test_a_folder_that_is_no_report_is_left_alone(tmp_path: Path):
    (tmp_path / "table2").mkdir()
    (tmp_path / "table2" / "mine.txt").write_text("mine")
    with pytest.raises(ReportError, match="holds no report"):  # before anything runs
        main(["table2", f"--output_dir={tmp_path}", "--datasets=none", "--models=SASRec"])
    with pytest.raises(ReportError, match="holds no report"):
        write_page(a_page(), tmp_path)
    assert (tmp_path / "table2" / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.12345, "0.1235"),
        (np.float32(0.5), "0.5000"),
        (12101, "12,101"),
        (np.int64(-3), "-3"),
        (None, ""),
        (pd.NA, ""),
        (float("nan"), ""),
        ("as it is", "as it is"),
        (np.True_, "True"),
    ],
)
def test_cells_are_shown(value: object, text: str):
    assert shown(value) == text
