"""New items without retraining: through the same fine-tuned LLM, into the table of the same trained model."""

import argparse
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from recbole_tslrec.augmentation.projection import KnowledgeProjection
from recbole_tslrec.augmentation.standardisation import side_by_side
from recbole_tslrec.augmentation.vectors import CATEGORIES, KNOWLEDGE
from recbole_tslrec.compute.precision import DTYPES
from recbole_tslrec.models.names import parse_model_name
from recbole_tslrec.reconstruction.settings import ReconstructionSettings
from recbole_tslrec.serving.new_items import (
    LINE,
    GivenItem,
    NewItem,
    NewItems,
    given_items,
    place_new_items,
    read_new_items,
)
from recbole_tslrec.serving.parents import check_same_llm, find_parent, running_program
from recbole_tslrec.serving.saved_model import DESCRIPTION, ModelFiles, best_device, open_model_folder
from recbole_tslrec.store.artifacts import (
    Artifact,
    ArtifactError,
    Recipe,
    Store,
    rows_of_tokens,
    write_item_table,
)


def extend_knowledge(model_folder: str | Path, items: Mapping[str, NewItem], skip_bad: bool = False) -> Path:
    """A copy of a trained TSLRec model that knows new items too; nothing is trained.

    A new item's stage-0 embedding (the mean of its neighbours', or the given one) goes through the LLM that was
    fine-tuned for this model, as those of the other items did (Section 4.2 of the paper), and is standardised by their
    statistics; in a prompt with words of items it has none. The ID part of its row, and whatever else the model keeps
    for each item, is the mean of its neighbours', or of all items where a vector is given (our choice). Its item
    features are unknown. All that the model holds of the former items stays bit by bit; so do their scores, but for
    rounding, and but for models that normalise over all.

    Args:
        model_folder: a ``recommender`` artifact of a TSLRec model. The ``knowledge``, ``sft`` and ``item_embeddings``
            artifacts that it was made of are looked for beside it.
        items: for each new token either tokens of similar items, or a stage-0 embedding [d].
        skip_bad: whether to leave out items that cannot be placed, and to count them in a warning.

    Returns:
        The folder of the new model, beside the former one, which stays. The same items give the same folder.

    Raises:
        ArtifactError: a folder is missing (says which), damaged, or of another kind.
        ValueError: the model is no TSLRec model, or its LLM reads words alone; an item is known already, has an unknown
            neighbour, or a vector of the wrong width or that is not finite. All of that before the LLM is loaded.
        ImportError: transformers or peft is not installed.
        LLMError: the LLM cannot be loaded.
    """
    return _extend(model_folder, given_items(items), skip_bad)


def _extend(model_folder: str | Path, items: Iterable[GivenItem], skip_bad: bool, source: Path | None = None) -> Path:
    """:func:`extend_knowledge` with items from wherever they stand."""
    model = open_model_folder(model_folder)
    if parse_model_name(model.json(DESCRIPTION)["model"]).family.table != "knowledge":
        raise ValueError(
            f"{model_folder} holds {model.json(DESCRIPTION)['model']}, which has no knowledge to extend; give the "
            "folder of a TSLRec model"
        )
    try:
        knowledge = find_parent(model, "knowledge")
        check_one_source(knowledge)
        sft, embeddings = find_parent(knowledge, "sft"), find_parent(knowledge, "item_embeddings")
    except ArtifactError as error:
        raise ArtifactError(
            f"{error}. A model of item vectors from elsewhere has none and cannot be extended: new items have to go "
            "through the same LLM"
        ) from error
    check_takes_vectors(sft)
    new = place_new_items(items, embeddings, model.item_tokens(), skip_bad, source)
    embeddings = extend_item_embeddings(embeddings, new)
    return extend_recommender(model, extend_table(knowledge, sft, embeddings, new), new).folder


def check_one_source(knowledge: Artifact) -> None:
    """Refuse a table of several sources: of new items the LLM's vectors alone are known.

    Raises:
        ValueError: it is one.
    """
    parts = [name for name in knowledge.manifest["parents"] if name.startswith("knowledge of ")]
    if parts:
        raise ValueError(
            f"{knowledge.folder} is {', '.join(parts)} side by side, and new items get the LLM's vectors alone; extend "
            "a model whose only source is the LLM"
        )


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
    running = running_program(best_device())
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

    return _found_or_built(parent, new, parents, write)


def _found_or_built(
    parent: Artifact, new: NewItems, parents: Mapping[str, str], write: Callable[[Path], None]
) -> Artifact:
    manifest, store = parent.manifest, Store(parent.folder.parent)
    kind, items = manifest["kind"], len(parent.item_tokens()) + len(new.tokens)
    recipe = Recipe(
        {**manifest["settings"], "new_items": new.hash},
        parents,
        {**manifest["dataset"], "items": items},
        manifest["contents"],
    )
    return store.find(kind, recipe) or store.build(kind, recipe, write, manifest["seed"], str(best_device()))


def extend_recommender(model: Artifact, knowledge: Artifact, new: NewItems) -> Artifact:
    """The ``recommender`` artifact with the new items at the end of its item table.

    Args:
        model: a trained TSLRec model.
        knowledge: the knowledge from :func:`extend_table`.
        new: the new items.
    """

    def write(folder: Path) -> None:
        rows = rows_of_tokens(knowledge.item_tokens(), new.tokens, knowledge.folder)
        tensors = knowledge.tensors()
        table = tensors[KNOWLEDGE]
        if model.manifest["settings"].get("knowledge_content") == "hidden_and_categories":
            table = side_by_side(table, tensors[CATEGORIES], _trained_items(knowledge))
        with_new_items(ModelFiles.read(model), new, table[rows]).write(folder)

    return _found_or_built(model, new, {"recommender": model.hash, "knowledge": knowledge.hash}, write)


def _trained_items(knowledge: Artifact) -> int:
    """How many items a ``knowledge`` artifact had before it was extended for the first time."""
    while "new_items" in knowledge.manifest["settings"]:
        knowledge = find_parent(knowledge, "knowledge")
    return len(knowledge.item_tokens())


def with_new_items(files: ModelFiles, new: NewItems, knowledge: Tensor) -> ModelFiles:
    """A TSLRec model's files with new items; see :func:`extend_knowledge` for what is put in their rows.

    Args:
        files: files of the trained model, N items.
        new: n items.
        knowledge: their knowledge embeddings, [n, H].
    """
    saved, item_rows = files.build(), len(files.item_tokens) + 1
    weights = dict(files.weights)
    for name, source in saved.model.named_modules():
        if isinstance(source, KnowledgeProjection):
            rows = source.standardised(knowledge)
            weights[f"{name}.knowledge"] = torch.cat([weights[f"{name}.knowledge"], rows])
            if source.present is not None:
                weights[f"{name}.present"] = torch.cat([source.present, torch.ones(len(rows), dtype=torch.bool)])
    counts = {**files.description["counts"], files.description["item_field"]: item_rows + len(new.tokens)}
    extended = ModelFiles(
        {**files.description, "counts": counts},
        [*files.item_tokens, *new.tokens],
        _with_unknown_features(files, len(new.tokens)),
        weights,
    )
    similar = [saved.item_ids(tokens) for tokens in new.similar]
    for name, shape in extended.shapes().items():
        if weights[name].shape != shape:  # so it has a row for each item
            weights[name] = _with_means(weights[name], item_rows, similar)
    return extended


def _with_unknown_features(files: ModelFiles, count: int) -> dict[str, Tensor]:
    """The feature columns with new items at their end, whose features are 0: RecBole's pad."""
    item_field = files.description["item_field"]
    return {
        field: torch.arange(len(column) + count)
        if field == item_field
        else torch.cat([column, column.new_zeros(count, *column.shape[1:])])
        for field, column in files.item_features.items()
    }


def _with_means(table: Tensor, item_rows: int, similar: Sequence[Sequence[int]]) -> Tensor:
    """Put the mean of each new item's similar rows, or of all items', behind the N + 1 rows of items.

    What stands behind them already (the mask row of BERT4Rec and S3Rec) stays last.
    """
    of_all = table[1:item_rows].double().mean(dim=0)
    means = torch.stack([table[ids].double().mean(dim=0) if ids else of_all for ids in similar])
    return torch.cat([table[:item_rows], means.to(table.dtype), table[item_rows:]])


def main(argv: Sequence[str]) -> None:
    """``python -m recbole_tslrec extend``: put new items into a trained model and say where the new one lies."""
    parser = argparse.ArgumentParser(
        prog="python -m recbole_tslrec extend",
        description="A copy of a trained TSLRec model that knows new items too. Nothing is trained.",
        allow_abbrev=False,
    )
    parser.add_argument("--model_folder", required=True, help="the folder of a trained TSLRec model: recommender-...")
    parser.add_argument("--items", required=True, type=Path, help=f"a file with lines {LINE}, or a table")
    parser.add_argument("--skip_bad", action="store_true", help="leave out items that cannot be placed; count them")
    given = parser.parse_args(argv)
    folder = _extend(given.model_folder, read_new_items(given.items), given.skip_bad, given.items)
    sys.stdout.write(f"{folder}\n")
