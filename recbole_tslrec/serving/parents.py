"""What a trained model was made of: artifacts beside it, the LLM, and the settings of both."""

from collections.abc import Iterator
from contextlib import suppress

import torch

from recbole_tslrec.configuration.properties import own_defaults
from recbole_tslrec.llm.identity import LLMError, llm_content
from recbole_tslrec.llm.settings import LLMSettings
from recbole_tslrec.settings import RecBoleConfig
from recbole_tslrec.store.artifacts import MANIFEST, Artifact, ArtifactError, open_artifact
from recbole_tslrec.store.contents import ContentHashes
from recbole_tslrec.store.files import read_json


def find_parent(artifact: Artifact, role: str) -> Artifact:
    """The artifact that another was made of, by its content, from the same folder of artifacts.

    Raises:
        ArtifactError: it is not there, or damaged.
    """
    if role not in artifact.manifest["parents"]:
        source = artifact.manifest["settings"].get("knowledge_source")
        why = f", of knowledge_source [{source}]" if source else ""
        raise ArtifactError(f"{artifact.folder} was made without a [{role}] artifact{why}")
    damaged = None
    for parent in unverified_parents(artifact, role):
        try:
            return open_artifact(parent.folder, role)
        except ArtifactError as error:  # there may be a copy
            damaged = error
    raise damaged or ArtifactError(
        f"{artifact.folder} was made of a [{role}] artifact that is not in {artifact.folder.parent}; put its folder "
        "there"
    )


def unverified_parents(artifact: Artifact, role: str) -> Iterator[Artifact]:
    """The folders beside an artifact whose manifests have the content that it was made of; their files are not read."""
    for path in sorted(artifact.folder.parent.glob(f"{role}-*/{MANIFEST}")):
        with suppress(ValueError, KeyError, TypeError):  # another one's damage
            found = Artifact(path.parent, read_json(path))
            if found.hash == artifact.manifest["parents"][role]:
                yield found


def check_one_source(knowledge: Artifact) -> None:
    """Refuse a table of several sources: of new items the vectors of one are known.

    Raises:
        ValueError: it is one.
    """
    parts = [name for name in knowledge.manifest["parents"] if name.startswith("knowledge of ")]
    if parts:
        raise ValueError(
            f"{knowledge.folder} is {', '.join(parts)} side by side, and new items get those of one source alone; "
            "extend a model that has a single one"
        )


def running_program(device: torch.device) -> RecBoleConfig:
    """What artifacts do not say, since it cannot change their result: the defaults, on a device."""
    return RecBoleConfig({**own_defaults("", ""), "device": device, "show_progress": False, "reproducibility": True})


def check_same_llm(artifact: Artifact, llm: LLMSettings) -> None:
    """Refuse an LLM whose files are no longer those that were fine-tuned, or lie elsewhere.

    Args:
        artifact: of the fine-tuned LLM.
        llm: which one it was.

    Raises:
        LLMError: they are not.
    """
    try:
        now = llm_content(llm, ContentHashes(artifact.folder.parents[1]))
    except LLMError as error:
        raise LLMError(
            f"{artifact.folder} was fine-tuned from an LLM that is not where it was: {error}; if it lies elsewhere "
            "now, put a link to it there"
        ) from error
    if now.get("llm") != artifact.manifest["contents"].get("llm"):
        raise LLMError(
            f"[{llm.llm_name_or_path}] is not the LLM that {artifact.folder} was fine-tuned from: its files "
            "have changed; put the former ones back, or train again"
        )
