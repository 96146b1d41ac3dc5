"""The site builds strictly, reads nothing from elsewhere, and its keys are those of the settings."""

import configparser
import re
from pathlib import Path

import pytest

from tests.docs.blocks import REPOSITORY

mkdocs_config = pytest.importorskip("mkdocs.config", reason="needs recbole_tslrec[docs]")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as ``make docs`` does; a warning is an error."""
    from mkdocs.commands.build import build

    folder = tmp_path_factory.mktemp("site")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(REPOSITORY)
        build(mkdocs_config.load_config(str(REPOSITORY / "mkdocs.yml"), strict=True, site_dir=str(folder)))
    return folder


def test_pages_load_nothing_from_elsewhere(site: Path) -> None:
    loads = re.compile(r'<(?:script|img|iframe|source)[^>]+src="(https?:[^"]+)"|<link[^>]+href="(https?:[^"]+)"')
    for page in site.glob("*.html"):
        assert not loads.findall(page.read_text(encoding="utf-8")), page.name


def test_equations_are_mathml(site: Path) -> None:
    method = (site / "method.html").read_text(encoding="utf-8")
    assert '<math xmlns="http://www.w3.org/1998/Math/MathML" display="block">' in method
    assert "arithmatex" not in method


def test_every_key_has_its_line(site: Path) -> None:
    from recbole_tslrec.configuration.documentation import documented_keys

    page = (site / "keys.html").read_text(encoding="utf-8")
    missing = [key.name for key in documented_keys() if f"<code>{key.name}</code>" not in page]
    assert not missing


def test_a_key_that_cannot_change_a_result_says_why(site: Path) -> None:
    rows = re.findall(r"<tr>.*?</tr>", (site / "keys.html").read_text(encoding="utf-8"), re.DOTALL)
    effects = {cells[0]: cells[-1] for row in rows if (cells := re.findall(r"<td>(.*?)</td>", row, re.DOTALL))}
    assert effects["<code>sft_epochs</code>"] == "yes"
    assert effects["<code>artifacts_dir</code>"] == "no: where artifacts are stored"


def test_badges_say_what_the_project_says() -> None:
    workflow = (REPOSITORY / ".github" / "workflows" / "tests.yml").read_text(encoding="utf-8")
    pythons = ", ".join(re.findall(r'"(3\.\d+)"', workflow))
    metadata = configparser.ConfigParser()
    metadata.read(REPOSITORY / "setup.cfg")
    said = {"python": f"Python: {pythons}", "licence": f"licence: {metadata['metadata']['license']}"}
    from recbole_tslrec.compatibility.recbole_import import TESTED_RECBOLE

    said["recbole"] = f"RecBole: {TESTED_RECBOLE}"
    for badge, text in said.items():
        assert f"<title>{text}</title>" in (REPOSITORY / "docs" / "badges" / f"{badge}.svg").read_text(encoding="utf-8")


def test_readme_is_short_and_names_the_two_commands() -> None:
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    assert len(readme) < 7_000
    first_run = readme.split("## First run")[1].split("\n## ")[0]
    assert re.search(r"^make run\b", first_run, re.MULTILINE)
    assert re.search(r"^make test\b", first_run, re.MULTILINE)


def test_links_between_files_lead_somewhere() -> None:
    for page in ("README.md", *(f"docs/{each.name}" for each in (REPOSITORY / "docs").glob("*.md"))):
        text = (REPOSITORY / page).read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)#\s:]+)(?:#[^)]*)?\)", text):
            if target in ("keys.md",):  # generated
                continue
            assert ((REPOSITORY / page).parent / target).exists(), f"{page} links to {target}"
