"""Item vectors onto the Hugging Face hub, with a card that says what they are."""

import re
import shutil
import tempfile
from logging import getLogger
from pathlib import Path

from recbole_tslrec.augmentation.vectors import KNOWLEDGE
from recbole_tslrec.serving.model_card import model_card, without_local_paths
from recbole_tslrec.serving.model_export import export
from recbole_tslrec.serving.saved_model import open_model_folder
from recbole_tslrec.serving.score_comparison import ExportError
from recbole_tslrec.serving.table_files import read_table
from recbole_tslrec.store.artifacts import Artifact, open_artifact, write_manifest
from recbole_tslrec.store.hub import check_can_push, push

CARD = "README.md"
TABLE = "item_table.safetensors"
_LICENSE = re.compile("[a-z0-9][a-z0-9.-]*")


def publish(model_folder: str | Path, repo: str, license: str) -> str:
    """Push a knowledge artifact, or the item table of a trained model, as one commit.

    A knowledge artifact stays what it is, so that ``knowledge_path=hf://<repo>`` finds again what was made of it; only
    paths of this machine in its settings are shortened. Of a trained model the table goes up as safetensors.

    Args:
        model_folder: a ``knowledge``, ``recommender`` or ``backbone`` artifact.
        repo: ``<owner>/<name>``; made, for everybody to see, where it does not exist.
        license: an identifier of the hub, such as ``mit``, ``cc-by-4.0`` or ``other``.

    Returns:
        The address of the commit, as ``knowledge_path`` takes it.

    Raises:
        ExportError: no license.
        HubError: the hub does not take it; what is known before is said before.
        ImportError: huggingface_hub is not installed.
        ArtifactError: the folder is damaged, of another kind or of another version.
    """
    if not _LICENSE.fullmatch(license):
        raise ExportError(
            f"[{license}] is no license; say with --hub_license under which one others may use the vectors, by the "
            "hub's identifier: mit, apache-2.0, cc-by-4.0, ... or other"
        )
    check_can_push(repo)
    artifact = open_artifact(model_folder)
    with tempfile.TemporaryDirectory() as folder:
        write = _write_knowledge if artifact.manifest["kind"] == KNOWLEDGE else _write_table
        shape = write(artifact, Path(folder))
        Path(folder, CARD).write_text(model_card(artifact, repo, license, shape), encoding="utf-8")
        commit = push(Path(folder), repo, f"{artifact.manifest['kind']} of {artifact.manifest['dataset']['name']}")
    getLogger().info(f"pushed {artifact.folder} to {repo}")
    return f"hf://{repo}@{commit}"


def _write_knowledge(artifact: Artifact, folder: Path) -> tuple[int, ...]:
    for name in artifact.manifest["files"]:
        shutil.copyfile(artifact.folder / name, folder / name)
    settings = without_local_paths(artifact.manifest["settings"])
    write_manifest(folder, {**artifact.manifest, "settings": settings})
    return tuple(artifact.tensors()[KNOWLEDGE].shape)


def _write_table(artifact: Artifact, folder: Path) -> tuple[int, ...]:
    open_model_folder(artifact.folder)  # refuses what has no table
    return tuple(read_table(export(artifact.folder, "safetensors", folder / TABLE)).rows.shape)
