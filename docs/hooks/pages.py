"""Pages of the site that have their home elsewhere in the repository, and links that lead there.

A page links to such a file by its path in the repository, as GitHub wants it; on the site the link leads to the page.
"""

import posixpath
import re
from typing import Any

from mkdocs.structure.files import File

PAGES = {  # a file of the repository: its page
    "README.md": "index.md",
    "ARCHITECTURE.md": "architecture.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "benchmarks/RESULTS.md": "benchmarks.md",
    "dataset/README.md": "data_formats.md",
    "properties/tuned/README.md": "tuned_settings.md",
    "docs/tutorial.ipynb": "tutorial.md",  # written by notebook.py
}
_LINK = re.compile(r"\[([^\[\]]*)\]\(([^)#\s]+)(#[^)\s]*)?\)")
_ROLE = re.compile(r":(?:func|class|meth|mod|data|attr|exc):<code>(.*?)</code>")


def on_files(files: Any, config: Any) -> Any:
    """Add the pages."""
    for source, page in PAGES.items():
        if source.endswith(".md"):
            with open(source, encoding="utf-8") as file:
                files.append(File.generated(config, page, content=file.read()))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Lead links to the pages; what is no page of the site is named, not linked."""
    homes = {page: source for source, page in PAGES.items()}
    source = homes.get(page.file.src_uri, f"docs/{page.file.src_uri}")

    def lead(link: re.Match[str]) -> str:
        text, target, anchor = link.groups(default="")
        if ":" in target:
            return link[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        if path not in PAGES and not path.startswith("docs/"):
            return text
        return f"[{text}]({PAGES.get(path, path.removeprefix('docs/'))}{anchor})"

    return _LINK.sub(lead, markdown)


def on_page_content(html: str, **_: Any) -> str:
    """Show the names in docstrings' cross references, which are Sphinx's, as code."""
    return _ROLE.sub(lambda role: f"<code>{role[1].removeprefix('~').rpartition('.')[2]}</code>", html)
