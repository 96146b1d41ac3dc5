"""The weights of a recommender as files: whole, or without the rows of knowledge, which training does not change.

The artifact has the whole: with it alone a model is served and extended, wherever it is copied and whatever becomes of
the knowledge. What is written again and again while a model is trained has what is trained, since the rows are those of
the ``knowledge`` artifact, whose contents decide in which folder the training goes on.
"""

from pathlib import Path

import torch
from safetensors.torch import load_file

from recbole_tslrec.augmentation.projection import frozen_rows
from recbole_tslrec.store.files import hash_arrays, write_tensors


def write_trained_weights(model: torch.nn.Module, path: Path) -> None:
    """Write a model's state without its rows of knowledge."""
    frozen = frozen_rows(model)
    write_tensors(path, {name: weight for name, weight in model.state_dict().items() if name not in frozen})


def load_weights(model: torch.nn.Module, path: Path) -> None:
    """Put the weights of a safetensors file into a model; rows of knowledge that the file leaves out stay as they are.

    Raises:
        RuntimeError: another weight is missing, or one is too many.
        ValueError: they belong to vectors of another width.
    """
    saved = load_file(str(path))
    own = {name: rows for name, rows in frozen_rows(model).items() if name not in saved}
    model.load_state_dict({**saved, **own})


def hash_of_frozen(model: torch.nn.Module) -> str:
    """One hash over the rows of knowledge in a model; empty where it has none."""
    rows = {tensor.untyped_storage().data_ptr(): tensor for tensor in frozen_rows(model).values()}
    return hash_arrays(*(tensor.cpu().numpy() for tensor in rows.values())) if rows else ""
