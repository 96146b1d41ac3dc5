"""New items without retraining, by vectors of the encoder whose vectors the model was trained with."""

from collections.abc import Sequence
from pathlib import Path

from recbole_tslrec.serving.new_rows import found_or_built, open_tslrec, with_new_items
from recbole_tslrec.serving.new_vectors import Vectors, place_new_vectors, read_new_vectors
from recbole_tslrec.serving.saved_model import GIVEN, SOURCES, ModelFiles


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
        VectorsError: the vectors cannot be read, are of another width or encoder, or no item is new; or the model's own
            were made by a ``knowledge_source``, and none of a known item shows that these are alike.
        ValueError: the model is not a TSLRec model, or its vectors are not from a single encoder.
    """
    model = open_tslrec(model_folder)
    files = ModelFiles.read(model)
    sources = files.description[SOURCES]
    check_one_encoder(model.folder, sources)
    new = place_new_vectors(files, read_new_vectors(vectors), must_compare=sources != [GIVEN])
    return found_or_built(
        model, new, {"recommender": model.hash}, lambda folder: with_new_items(files, new, new.vectors).write(folder)
    ).folder


def check_one_encoder(folder: Path, sources: Sequence[str]) -> None:
    """Refuse a model whose rows are more than one encoder's vectors: each part has a scale of its own, not kept there.

    Args:
        folder: of the model.
        sources: whose vectors it fuses.

    Raises:
        ValueError: there are several.
    """
    if len(sources) > 1:
        raise ValueError(
            f"{folder} fuses several vectors of each item ({', '.join(sources)}), and new items would have one alone; "
            "extend a model that has a single source"
        )
