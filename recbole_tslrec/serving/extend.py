"""New items without retraining: through the same fine-tuned LLM, or with vectors of the same encoder, into the table of
the same trained model.
"""

import argparse
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from logging import getLogger
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from recbole_tslrec.augmentation.vectors import CATEGORIES, KNOWLEDGE
from recbole_tslrec.compute.distributed import own_device
from recbole_tslrec.compute.precision import DTYPES
from recbole_tslrec.reconstruction.settings import ReconstructionSettings
from recbole_tslrec.serving.extend_with_vectors import extend_with_vectors
from recbole_tslrec.serving.model_folder import add_model_folder, chosen_model_folder
from recbole_tslrec.serving.new_items import (
    LINE,
    GivenItem,
    NewItem,
    NewItems,
    given_items,
    place_new_items,
    read_new_items,
)
from recbole_tslrec.serving.new_rows import found_or_built, open_tslrec, with_new_items
from recbole_tslrec.serving.parents import check_one_source, check_same_llm, find_parent, running_program
from recbole_tslrec.serving.saved_model import ModelFiles
from recbole_tslrec.store.artifacts import (
    Artifact,
    ArtifactError,
    rows_of_tokens,
    write_item_table,
)


def extend_knowledge(model_folder: str | Path, items: Mapping[str, NewItem], skip_bad: bool = False) -> Path:
    """A copy of a trained TSLRec model that also knows new items; nothing is trained.

    The stage-0 embedding of a new item (the mean of its neighbours', or the given one) goes through the LLM that was
    fine-tuned for this model, as those of the other items did (Section 4.2 of the paper). The result is standardised by
    the statistics of the other items. If the prompt has words of items, the new item has none. The ID part of its row,
    and whatever else the model keeps for each item, is the mean of its neighbours' (or, if a vector is given, of all
    items'), scaled to their average length (our choice). Its item features are unknown. What the model holds for the
    former items is not changed, and their scores differ only by rounding, except in models that normalise over all.

    Args:
        model_folder: a ``recommender`` artifact of a TSLRec model. The ``knowledge``, ``sft`` and ``item_embeddings``
            artifacts from which it was made are searched for beside it.
        items: for each new token, either the tokens of similar items or a stage-0 embedding [d].
        skip_bad: whether to leave out items that cannot be added, and to count them in a warning.

    Returns:
        The folder of the new model, beside the old one, which stays. The same items give the same folder.

    Raises:
        ArtifactError: a folder is missing (says which), damaged, or of another kind.
        ValueError: the model is not a TSLRec model, or its LLM reads only words; an item is already known, or has an
            unknown neighbour, or a vector that has the wrong width or is not finite. Raised before the LLM is loaded.
        ImportError: transformers or peft is not installed.
        LLMError: the LLM cannot be loaded.
    """
    return _extend(model_folder, given_items(items), skip_bad)


def _extend(model_folder: str | Path, items: Iterable[GivenItem], skip_bad: bool, source: Path | None = None) -> Path:
    """:func:`extend_knowledge` with items from wherever they stand."""
    model = open_tslrec(model_folder)
    try:
        knowledge = find_parent(model, "knowledge")
        check_one_source(knowledge)
        sft, embeddings = find_parent(knowledge, "sft"), find_parent(knowledge, "item_embeddings")
    except ArtifactError as error:
        raise ArtifactError(
            f"{error}. A model of item vectors from elsewhere has none: give vectors of new items by the same encoder, "
            "with --vectors"
        ) from error
    check_takes_vectors(sft)
    if knowledge.manifest["settings"]["export_context"] != "single":
        getLogger().warning(
            "the knowledge of the former items was exported from users' histories (export_context), that of new ones, "
            "which nobody has had, is exported from themselves alone: it is less alike to theirs"
        )
    new = place_new_items(items, embeddings, model.item_tokens(), skip_bad, source)
    embeddings = extend_item_embeddings(embeddings, new)
    return extend_recommender(model, extend_table(knowledge, sft, embeddings, new), new).folder


def check_takes_vectors(sft: Artifact) -> None:
    """Refuse an LLM that reads words alone: new items have none.

    Raises:
        ValueError: it does.
    """
    if not sft.manifest["settings"]["prompt_item_vector"]:
        raise ValueError(
            f"the LLM of {sft.folder} reads words of items and no vectors (prompt_item_vector=False), and new items "
            "are given without words; train with prompt_item_vector=True, or again once they have interactions"
        )


def extend_item_embeddings(embeddings: Artifact, new: NewItems) -> Artifact:
    """The ``item_embeddings`` artifact with the new items' rows at its end."""
    parents = {"item_embeddings": embeddings.hash}
    return _extended(embeddings, new, parents, lambda: {"item_embeddings": new.vectors})


def extend_table(knowledge: Artifact, sft: Artifact, embeddings: Artifact, new: NewItems) -> Artifact:
    """The ``knowledge`` artifact with the new items' rows at its end, from the LLM as it was fine-tuned.

    Args:
        knowledge: what is extended.
        sft: the LLM that made it.
        embeddings: the embeddings from :func:`extend_item_embeddings`.
        new: the new items.

    Raises:
        ImportError: transformers or peft is not installed.
        LLMError: the LLM cannot be loaded.
        ValueError: a hidden state is not finite.
    """
    parents = {"knowledge": knowledge.hash, "sft": sft.hash, "item_embeddings": embeddings.hash}
    return _extended(knowledge, new, parents, lambda: _through_the_llm(sft, new, knowledge.manifest["settings"]))


def _through_the_llm(sft: Artifact, new: NewItems, settings: Mapping[str, Any]) -> dict[str, Tensor]:
    """The rows of new items, exported with the settings of the former ones."""
    try:
        from recbole_tslrec.augmentation.knowledge_export import encode_items, prepare_for_export
        from recbole_tslrec.reconstruction.task import load_fine_tuned
    except ImportError as error:
        raise ImportError(
            f"new items go through the LLM, which needs {error.name}; install it with: pip install "
            "'recbole_tslrec[llm]'"
        ) from error
    running = running_program(own_device())
    stage_1 = ReconstructionSettings.of_recipe(sft.manifest["settings"], running)
    check_same_llm(sft, stage_1.engine.llm)
    network = load_fine_tuned(stage_1, sft.folder)
    dtype = DTYPES[settings["export_dtype"]]
    prepare_for_export(network, dtype, settings["export_pooling"])
    batches = torch.split(new.vectors, running["export_batch_size"])
    encoded = [encode_items(network, rows) for rows in batches]
    knowledge, categories = (torch.cat(parts) for parts in zip(*encoded, strict=True))  # [n, H], [n, K]
    finite = knowledge.isfinite().all(dim=1)
    if not finite.all():
        token = new.tokens[int((~finite).nonzero()[0])]
        raise ValueError(f"the LLM's hidden state of new item {token!r} is not finite in {dtype}; leave the item out")
    return {KNOWLEDGE: knowledge, CATEGORIES: categories}


def _extended(
    parent: Artifact, new: NewItems, parents: Mapping[str, str], rows: Callable[[], Mapping[str, Tensor]]
) -> Artifact:
    """An artifact of item rows with those of new items at its end; ``rows`` makes them if it is not there yet."""

    def write(folder: Path) -> None:
        added = rows()
        tensors = {name: torch.cat([table, added[name]]) for name, table in parent.tensors().items()}
        write_item_table(folder, [*parent.item_tokens(), *new.tokens], tensors)

    return found_or_built(parent, new, parents, write)


def extend_recommender(model: Artifact, knowledge: Artifact, new: NewItems) -> Artifact:
    """The ``recommender`` artifact with the new items at the end of its item table.

    Args:
        model: a trained TSLRec model.
        knowledge: the knowledge from :func:`extend_table`.
        new: the new items.
    """

    def write(folder: Path) -> None:
        rows = rows_of_tokens(knowledge.item_tokens(), new.tokens, knowledge.folder)
        with_new_items(ModelFiles.read(model), new, knowledge.tensors()[KNOWLEDGE][rows]).write(folder)

    return found_or_built(model, new, {"recommender": model.hash, "knowledge": knowledge.hash}, write)


def main(argv: Sequence[str]) -> None:
    """``python -m recbole_tslrec extend``: put new items into a trained model and say where the new one lies."""
    parser = argparse.ArgumentParser(
        prog="python -m recbole_tslrec extend",
        description="Write a copy of a trained TSLRec model that also knows new items. Nothing is trained.",
        allow_abbrev=False,
    )
    add_model_folder(parser, "the folder of a trained TSLRec model: recommender-...")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--items", type=Path, help=f"a file with lines {LINE}, or a table")
    what.add_argument(
        "--vectors",
        type=Path,
        help="vectors by the encoder whose vectors were in knowledge_path, in any file that it takes",
    )
    parser.add_argument(
        "--skip_bad", action="store_true", help="leave out lines of --items that cannot be added, and count them"
    )
    given = parser.parse_args(argv)
    if given.vectors and given.skip_bad:
        parser.error("--skip_bad leaves out lines of --items; a file of vectors is read as a whole")
    model_folder = chosen_model_folder(given.model_folder)
    folder = (
        extend_with_vectors(model_folder, given.vectors)
        if given.vectors
        else _extend(model_folder, read_new_items(given.items), given.skip_bad, given.items)
    )
    sys.stdout.write(f"{folder}\n")
