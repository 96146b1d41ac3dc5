"""New items without retraining, by vectors of the encoder whose vectors the model was trained with."""

from contextlib import suppress
from pathlib import Path

from recbole_tslrec.serving.new_rows import found_or_built, open_tslrec, with_new_items
from recbole_tslrec.serving.new_vectors import Vectors, place_new_vectors, read_new_vectors
from recbole_tslrec.serving.parents import check_one_source, find_parent
from recbole_tslrec.serving.saved_model import ModelFiles
from recbole_tslrec.store.artifacts import Artifact, ArtifactError


def extend_with_vectors(model_folder: str | Path, vectors: Vectors) -> Path:
    """A copy of a trained TSLRec model that also knows new items, by their vectors; nothing is trained.

    No LLM is loaded. This is for a model with item vectors from elsewhere (``knowledge_path``). The vector of a new
    item is standardised by the statistics of the others. The ID part of its row, and whatever else the model keeps for
    each item, is the mean of its :data:`~recbole_tslrec.serving.new_vectors.NEIGHBOURS` nearest known items by the
    cosine, scaled to their average length (our choice). What the model holds for the former items is not changed.

    Args:
        model_folder: a ``recommender`` artifact of a TSLRec model.
        vectors: a file, as ``knowledge_path`` takes it, or a row for each token. It may contain items that the model
            knows; their rows are compared with those of its training, and the model's stay.

    Returns:
        The folder of the new model, beside the old one, which stays. The same vectors give the same folder.

    Raises:
        ArtifactError: the folder is missing, damaged, or of another kind.
        VectorsError: the vectors cannot be read, are of another width or encoder, or no item is new.
        ValueError: the model is not a TSLRec model, or its vectors are not from a single encoder.
    """
    model = open_tslrec(model_folder)
    check_one_encoder(model)
    files = ModelFiles.read(model)
    new = place_new_vectors(files, read_new_vectors(vectors))
    return found_or_built(
        model, new, {"recommender": model.hash}, lambda folder: with_new_items(files, new, new.vectors).write(folder)
    ).folder


def check_one_encoder(model: Artifact) -> None:
    """Refuse a model whose rows are more than one encoder's vectors: each part has a scale of its own, not kept there.

    Raises:
        ValueError: it fuses several sources or files.
    """
    with suppress(ArtifactError):  # of vectors from elsewhere there is none
        check_one_source(find_parent(model, "knowledge"))
