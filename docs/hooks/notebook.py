"""The tutorial as a page: the cells of ``docs/tutorial.ipynb``, with what they printed when it was last executed."""

import json
from typing import Any

from mkdocs.structure.files import File

NOTEBOOK = "docs/tutorial.ipynb"


def on_files(files: Any, config: Any) -> Any:
    """Write the page ``tutorial.md``."""
    with open(NOTEBOOK, encoding="utf-8") as file:
        cells = json.load(file)["cells"]
    files.append(File.generated(config, "tutorial.md", content="\n\n".join(map(_shown, cells))))
    return files


def _shown(cell: Any) -> str:
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        return source
    printed = "".join("".join(text) for text in map(_text, cell["outputs"])).rstrip()
    return _fenced("python", source) + (f"\n\n{_fenced('text', printed)}" if printed else "")


def _text(output: Any) -> Any:
    """What an output says in plain text; progress and logs, on stderr, are left out."""
    if output["output_type"] == "stream":
        return output["text"] if output["name"] == "stdout" else ""
    return [*output.get("data", {}).get("text/plain", ""), "\n"]


def _fenced(language: str, text: str) -> str:
    return f"```{language}\n{text}\n```"
