"""Put the JSON files of benchmarks into RESULTS.md: ``python benchmarks/results.py FILE.json ...``.

A benchmark's section is replaced by that of the newer file; the other sections stay.
"""

import argparse
import json
import re
from pathlib import Path
from typing import Any

from tabulate import tabulate

RESULTS = Path(__file__).with_name("RESULTS.md")
_TITLE = "# Measured\n\nWritten by `python benchmarks/results.py` from the benchmarks' JSON files.\n"


def section(found: dict[str, Any]) -> str:
    """The section of one benchmark: command, machine, tables, ratios, notes and what failed."""
    machine = found["machine"]
    versions = ", ".join(f"{name} {machine[name]}" for name in ("torch", "transformers", "peft"))
    place = machine["gpu"] or f"{machine['cpu']}, {machine['threads']} threads"
    lines = [f"## {found['benchmark']}", f"`{found['command']}`", f"{machine['date']}, {place}, {versions}"]
    lines += [f"- {note}" for note in found["notes"]]
    for title, rows in found["tables"].items():
        lines.append(f"### {title}\n\n{tabulate(rows, 'keys', tablefmt='github', floatfmt=',.4g')}")
    ratios = [(name, f"{ratio:.3g}") for name, ratio in found["ratios"].items()]
    lines.append(f"### ratios\n\n{tabulate(ratios, ('name', 'ratio'), tablefmt='github')}")
    lines += [f"- FAILED {part}: {message}" for part, message in found["failures"].items()]
    return re.sub(r"\n\n- ", "\n- ", "\n\n".join(lines)).replace("\n- ", "\n\n- ", 1) + "\n"


def main() -> None:
    """Replace the sections of the given files in RESULTS.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, help="written with --json")
    before = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else _TITLE
    head, *old = re.split(r"(?m)^(?=## )", before)
    sections = {text.split("\n", 1)[0]: text for text in old}
    for path in parser.parse_args().files:
        text = section(json.loads(path.read_text(encoding="utf-8")))
        sections[text.split("\n", 1)[0]] = text
    RESULTS.write_text("\n".join([head.rstrip() + "\n", *(text.rstrip() + "\n" for text in sections.values())]))


if __name__ == "__main__":
    main()
