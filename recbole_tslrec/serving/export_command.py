"""``python -m recbole_tslrec export``: a trained model's items into a file, or onto the Hugging Face hub."""

import argparse
import logging
import sys
from collections.abc import Sequence

from recbole_tslrec.serving.model_export import FORMATS, export
from recbole_tslrec.serving.model_folder import add_model_folder, chosen_model_folder
from recbole_tslrec.serving.publishing import publish


def main(argv: Sequence[str] = ()) -> None:
    """The command ``export``: ``--model_folder=...`` and ``--format=... [--output=...]`` or ``--push_to_hub=...``."""
    parser = argparse.ArgumentParser(
        prog="python -m recbole_tslrec export",
        description="Write the item table with which a trained model scores, or the model as an ONNX graph; check it.",
    )
    add_model_folder(
        parser, "a recommender or backbone folder of artifacts_dir; for --push_to_hub also a knowledge folder"
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--format", help=f"{', '.join(FORMATS)}; onnx also has the sequence encoder, and ann is an index for recommend"
    )
    what.add_argument(
        "--push_to_hub",
        metavar="OWNER/NAME",
        help="push knowledge vectors or the item table, with a card, to this repository of the Hugging Face hub; if it "
        "does not exist, it is created and is public; --knowledge_path=hf://OWNER/NAME reads it",
    )
    parser.add_argument("--output", help="the file (default: <name of the folder>.<format> in the working directory)")
    parser.add_argument(
        "--hub_license",
        default="",
        help="for --push_to_hub: the licence, as the hub names it: mit, cc-by-4.0, ... or other",
    )
    given = parser.parse_args(list(argv))
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    folder = chosen_model_folder(given.model_folder)
    if given.push_to_hub:
        sys.stdout.write(f"{publish(folder, given.push_to_hub, given.hub_license)}\n")
    else:
        sys.stdout.write(f"{export(folder, given.format, given.output)}\n")
