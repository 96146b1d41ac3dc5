"""The rows of new items at the end of what a trained model holds."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from recbole_tslrec.augmentation.projection import KnowledgeProjection
from recbole_tslrec.compute.distributed import own_device
from recbole_tslrec.models.names import parse_model_name
from recbole_tslrec.serving.new_items import NewItems
from recbole_tslrec.serving.saved_model import DESCRIPTION, ModelFiles, open_model_folder
from recbole_tslrec.store.artifacts import Artifact, Recipe, Store


def open_tslrec(model_folder: str | Path) -> Artifact:
    """A folder of :func:`~recbole_tslrec.serving.saved_model.open_model_folder` whose model fuses knowledge.

    Raises:
        ArtifactError: as there.
        ValueError: the model has none.
    """
    model = open_model_folder(model_folder)
    if parse_model_name(model.json(DESCRIPTION)["model"]).family.table != "knowledge":
        raise ValueError(
            f"{model_folder} holds {model.json(DESCRIPTION)['model']}, which has no knowledge to extend; give the "
            "folder of a TSLRec model"
        )
    return model


def found_or_built(
    parent: Artifact, new: NewItems, parents: Mapping[str, str], write: Callable[[Path], None]
) -> Artifact:
    """An artifact like ``parent`` that knows new items too, written if it is not there yet."""
    manifest, store = parent.manifest, Store(parent.folder.parent)
    kind, items = manifest["kind"], len(parent.item_tokens()) + len(new.tokens)
    recipe = Recipe(
        {**manifest["settings"], "new_items": new.hash},
        parents,
        {**manifest["dataset"], "items": items},
        manifest["contents"],
    )
    return store.find(kind, recipe) or store.build(kind, recipe, write, manifest["seed"], str(own_device()))


def with_new_items(files: ModelFiles, new: NewItems, knowledge: Tensor) -> ModelFiles:
    """A model's files with new items; see :func:`recbole_tslrec.serving.extend.extend_knowledge` for their rows.

    Args:
        files: files of the trained model, N items; without a projection of knowledge it gets none of it.
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
            weights[name] = _with_new_rows(weights[name], item_rows, similar)
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


def _with_new_rows(table: Tensor, item_rows: int, similar: Sequence[Sequence[int]]) -> Tensor:
    """Put a row for each new item, made of its similar ones or of all items', behind the N + 1 rows of items.

    What stands behind them already (the mask row of BERT4Rec and S3Rec) stays last.
    """
    of_all = table[1:item_rows].double().mean(dim=0)
    rows = torch.stack([_in_between(table[ids].double()) if ids else of_all for ids in similar])
    return torch.cat([table[:item_rows], rows.to(table.dtype), table[item_rows:]])


def _in_between(rows: Tensor) -> Tensor:
    """The mean of some rows [n, ...], as long as they are on average.

    The mean itself is the shorter, the more they differ, and so would be all inner products with it.
    """
    mean = rows.mean(dim=0)
    if rows.dim() == 1:
        return mean
    length = mean.norm().clamp(min=torch.finfo(mean.dtype).tiny)
    found: Tensor = mean * (rows.flatten(1).norm(dim=1).mean() / length)
    return found
