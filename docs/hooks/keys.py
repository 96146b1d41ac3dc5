"""The page *Every key*, from the yaml files and the settings' classes, so that it cannot be stale."""

from collections.abc import Iterator
from itertools import groupby
from typing import Any

from mkdocs.structure.files import File

from recbole_tslrec.configuration.documentation import RECBOLES_KEYS, DocumentedKey, documented_keys
from recbole_tslrec.configuration.properties import properties_folder, read_properties
from recbole_tslrec.pipeline import knowledge_sources, llm_baselines  # noqa: F401  the settings of all stages
from recbole_tslrec.settings import Settings

INTRODUCTION = f"""# Every key

This page is generated from `properties/overall.yaml`, `properties/llm/scratch.yaml` and the classes of the settings.
Set a key by `--key=value` on the command line, in a yaml file (`--config_files`), or in `config_dict` from Python. The
command line overrides the dict, which overrides the files. An unknown key is refused, with a suggestion of the nearest
one. `~` means `None`.

A key *changes results* if it enters the recipe of an artifact: with another value, that artifact is built again. The
other keys cannot change a result, and the page says why.

RecBole's keys are described [in its own documentation]({RECBOLES_KEYS}). Those that a run of this package reads are
listed [at the end](#recboles-keys).
"""


def on_files(files: Any, config: Any) -> Any:
    """Write the page."""
    files.append(File.generated(config, "keys.md", content=page()))
    return files


def page() -> str:
    """The page as Markdown."""
    groups = list(_groups(Settings))
    changing = {key for group in groups for key in group.key_names() if key not in group.neutral()}
    neutral = {key: why for group in reversed(groups) for key, why in group.neutral().items() if key not in changing}
    ours = list(documented_keys())
    lines = [INTRODUCTION]
    for section, keys in groupby(ours, key=lambda key: key.section):
        lines += [f"## {section}\n", *_table(keys, neutral)]
    known = {key.name for key in ours}
    read = sorted((changing | set(neutral)) - known - {"model", "dataset"})
    lines += ["## RecBole's keys\n", "This package reads these keys as RecBole does, with RecBole's defaults.\n"]
    lines += ["| key | changes results |", "|---|---|", *(f"| `{key}` | {_effect(key, neutral)} |" for key in read)]
    lines += ["\n## Keys of single models\n", "| model | defaults |", "|---|---|", *_of_models()]
    return "\n".join(lines)


def _groups(of: type[Settings]) -> Iterator[type[Settings]]:
    for group in of.__subclasses__():
        yield group
        yield from _groups(group)


def _table(keys: Iterator[DocumentedKey], neutral: dict[str, str]) -> Iterator[str]:
    yield "| key | default | type | meaning | changes results |"
    yield "|---|---|---|---|---|"
    for key in keys:
        cells = (
            f"`{key.name}`",
            f"`{key.default}`",
            key.type,
            key.meaning.replace("[", r"\["),
            _effect(key.name, neutral),
        )
        yield "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"
    yield ""


def _effect(key: str, neutral: dict[str, str]) -> str:
    return f"no: {neutral[key]}" if key in neutral else "yes"


def _of_models() -> Iterator[str]:
    for file in sorted((properties_folder() / "model").glob("*.yaml")):
        defaults = ", ".join(f"`{key}: {value}`" for key, value in read_properties(file).items())
        yield f"| {file.stem} | {defaults} |"
