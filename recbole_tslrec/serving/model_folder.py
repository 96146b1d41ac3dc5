"""The folder of a trained model on a command line, where a pattern may fit several."""

import argparse
import glob
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from recbole_tslrec.store.artifacts import MANIFEST
from recbole_tslrec.store.files import read_json

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
        listed = "".join(f"\n  {_described(path)}" for path in models)
        raise ValueError(f"{len(models)} models fit --model_folder; give one of them:{listed}")
    return models[0]


def _described(path: Path) -> str:
    manifest = read_json(path / MANIFEST)
    written = datetime.fromtimestamp((path / MANIFEST).stat().st_mtime)
    return f"{path}  {manifest['settings'].get('model', manifest['kind'])}, {written:%Y-%m-%d %H:%M}"
