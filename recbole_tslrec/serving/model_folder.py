"""The folder of a trained model on a command line, where a pattern may fit several."""

import argparse
import glob
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from recbole_tslrec.serving.parents import unverified_parents
from recbole_tslrec.serving.saved_model import DESCRIPTION, SOURCES
from recbole_tslrec.store.artifacts import MANIFEST, Artifact
from recbole_tslrec.store.files import read_json

_FIRST = ("knowledge_source", "items")  # what else is the same where models were extended or fuse other vectors
_MOST_DIFFERENCES = 4  # settings that are listed for a model
_LEFT = (".partial", ".previous", ".discarded")  # by a run that was interrupted


def add_model_folder(parser: argparse.ArgumentParser, about: str) -> None:
    """Add ``--model_folder``, for :func:`chosen_model_folder`."""
    parser.add_argument("--model_folder", required=True, nargs="+", metavar="FOLDER", help=about)


def chosen_model_folder(given: Sequence[str]) -> Path:
    """The one folder that is meant; what a run that was interrupted has left is none.

    Args:
        given: paths, or patterns such as ``artifacts/ml-100k/recommender-*/``, which a shell may have expanded.

    Raises:
        ValueError: several models fit.
    """
    found = [Path(path) for each in given for path in sorted(glob.glob(each)) or [each]]
    models = [
        path for path in dict.fromkeys(found) if (path / MANIFEST).is_file() and path.suffix not in _LEFT
    ] or found[:1]
    if len(models) > 1:
        listed = "".join(f"\n  {line}" for line in _described(models))
        raise ValueError(f"{len(models)} models fit --model_folder; give one of them:{listed}")
    return models[0]


def _described(models: Sequence[Path]) -> list[str]:
    """A line for each model, with settings in which they differ, first those that most models have."""
    settings = [_settings_of(path) for path in models]
    having = Counter(name for of_model in settings for name in of_model if name != "model")
    values = {name: len({str(of_model.get(name)) for of_model in settings}) for name in having}
    differing = sorted(
        (n for n in having if values[n] > 1), key=lambda n: (n in _FIRST, having[n], values[n]), reverse=True
    )
    lines = []
    for path, of_model in zip(models, settings, strict=True):
        own = [f"{name}={of_model[name]}" for name in differing if name in of_model][:_MOST_DIFFERENCES]
        written = datetime.fromtimestamp((path / MANIFEST).stat().st_mtime)
        lines.append(f"{path}  {', '.join([of_model['model'], *own])}, {written:%Y-%m-%d %H:%M}")
    return lines


def _settings_of(path: Path) -> Mapping[str, Any]:
    """The settings of a model and of the artifacts beside it that it was made of; its own take precedence.

    Also whose vectors it fuses, and how many items it knows.
    """
    artifact = Artifact(path, read_json(path / MANIFEST))
    found: dict[str, Any] = {"model": artifact.manifest["kind"]}
    for role in artifact.manifest["parents"]:
        for parent in unverified_parents(artifact, role):
            found |= parent.manifest["settings"]
    found |= artifact.manifest["settings"]
    found.pop("new_items", None)  # a hash; the number of items shows it
    found["items"] = artifact.manifest["dataset"].get("items")
    if (path / DESCRIPTION).is_file() and (sources := read_json(path / DESCRIPTION)[SOURCES]):
        found["knowledge_source"] = "+".join(sources)
    return found
