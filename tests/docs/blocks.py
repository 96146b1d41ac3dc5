"""The fenced blocks of the README and of the pages, and the commands that their shell blocks come to.

A block that cannot run (network, GPU, hours) has a line ``<!-- not run: why -->`` before it.
"""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = ("README.md", "dataset/README.md", *(f"docs/{page.name}" for page in (REPOSITORY / "docs").glob("*.md")))
_BLOCK = re.compile(
    r"(?:^<!-- not run: (?P<why>[^>]+) -->\n)?^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
_OURS = ("-m recbole_tslrec", "run_recbole_tslrec.py")

# What a block calls is recorded, with its arguments as bash gives them, one call a line, and nothing is run but the
# Python one-liners whose output makes an argument.
_PRELUDE = r"""
record() { printf '%q ' "$@" >> "$CALLS"; printf '\n' >> "$CALLS"; }
python() { if [ "$BASH_SUBSHELL" -gt 0 ]; then command "$PYTHON" "$@"; else record python "$@"; fi; }
function .venv/bin/python { record python "$@"; }
for each in make accelerate torchrun recbole-tslrec git pip ../.venv/bin/pytest .venv/bin/pip python3 cd; do
  eval "function $each { record $each \"\$@\"; }"
done
"""


class Block(NamedTuple):
    """A fenced block; ``why`` says why it is not run, and is empty where it is."""

    page: str
    line: int
    language: str
    text: str
    why: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(page: str) -> Iterator[Block]:
    """The blocks of a page of the repository, in order."""
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    for found in _BLOCK.finditer(text):
        line = text.count("\n", 0, found.start("language")) + 1
        yield Block(page, line, found["language"], found["text"], found["why"] or "")


def calls(block: Block, folder: Path) -> list[list[str]]:
    """What a shell block calls, with the arguments that bash makes of it in ``folder``; nothing is run."""
    record = folder / "calls"
    record.write_text("")
    environment = {"CALLS": str(record), "PYTHON": sys.executable, "PATH": "/usr/bin:/bin"}
    script = f"set -eu\n{_PRELUDE}\n{block.text}"
    ended = subprocess.run(
        ["bash", "-c", script], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, f"{block}: {ended.stderr}"
    return [shlex.split(line) for line in record.read_text().splitlines()]


def own_arguments(call: list[str]) -> list[str] | None:
    """The arguments of this package's command line in a call, or ``None`` if it calls something else."""
    if call[0] == "recbole-tslrec":
        return call[1:]
    for place, word in enumerate(call):
        if word == "run_recbole_tslrec.py" or (word == "recbole_tslrec" and call[place - 1] == "-m"):
            return call[place + 1 :]
    return None


def mentions_us(text: str) -> bool:
    """Whether a block has a command of this package."""
    return any(name in text for name in _OURS)
