"""Export to serve: the item table as the model scores it, an index over it, or the whole scorer as an ONNX graph.

Everything is written into a folder of its own, read back and compared with the model, and only then renamed into place.
"""

import importlib
import os
import tempfile
from logging import getLogger
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import linear

from recbole_tslrec.serving.approximate_items import PACKAGE, write_index
from recbole_tslrec.serving.saved_model import load_model
from recbole_tslrec.serving.score_comparison import (
    ExportError,
    random_histories,
    relative_difference,
    scoring_of,
)
from recbole_tslrec.serving.table_files import WRITERS, ItemTable, read_table
from recbole_tslrec.store.files import room_for, share

# the packages that a format needs
FORMATS: dict[str, tuple[str, ...]] = {
    "safetensors": (),
    "parquet": (),
    "itememb": (),
    "onnx": ("onnx", "onnxscript", "onnxruntime"),
    "ann": (PACKAGE,),
}
_EXTRAS = {"onnx": "serving", "ann": "ann"}  # that bring them
TOLERANCE = 1e-5  # of the scores from a table that was read back, relative to the largest


def export(model_folder: str | Path, format: str, output: str | Path | None = None) -> Path:
    """Write a trained model's item table, an index over it or an ONNX graph, and check it by reading it back.

    Args:
        model_folder: a ``recommender`` or ``backbone`` artifact.
        format: ``safetensors`` (tensors ``item_table`` and ``item_bias``, metadata ``tokens``), ``parquet`` (columns
            ``item_id``, ``vector``, ``bias``), ``itememb`` (RecBole's atomic file: ``item_id:token``,
            ``item_emb:float_seq``, ``item_bias:float``), ``onnx`` (see ``onnx_export.py``), or ``ann``, an index for
            ``recommend`` (see ``approximate_items.py``). The bias is written only if the model has one. The first three
            can be another model's ``knowledge_path``.
        output: the file; ``<name of the folder>.<format>`` in the working directory by default. An existing file
            is replaced when the new one is complete.

    Returns:
        ``output``.

    Raises:
        ExportError: there is no such format, the output cannot be written there, the model cannot be exported in this
            format, or what was read back does not give the model's scores.
        ImportError: a package of the extra ``serving`` or ``ann`` is missing.
        ArtifactError: the model folder is damaged, of another kind or of another version.
    """
    folder = Path(model_folder)
    check_format(format)
    output = Path(output or f"{folder.resolve().name}.{format}")
    check_output(output, folder)
    saved = load_model(folder)
    return export_model(saved.model, saved.item_tokens, saved.max_length, format, output)


def export_model(model: torch.nn.Module, tokens: list[str], max_length: int, format: str, output: Path) -> Path:
    """:func:`export` of a model in evaluation mode on the CPU; for ``onnx``, its fused tables become plain ones.

    Args:
        model: a sequential model of RecBole or of this package.
        tokens: the external tokens of its items 1..N.
        max_length: L.
        format: one of :data:`FORMATS`.
        output: the file.

    Raises:
        ExportError: as :func:`export`.
    """
    scoring_of(model)  # refuses a model without an item table
    with room_for(output), tempfile.TemporaryDirectory(prefix=f".{output.name}.", dir=output.parent) as folder:
        temporary = Path(folder) / f"export.{format}"
        if format == "onnx":
            from recbole_tslrec.serving.onnx_export import write_onnx

            difference = write_onnx(temporary, model, tokens, max_length)
        else:
            difference = write_table(temporary, model, tokens, max_length)
        share(Path(folder))
        for written in sorted(Path(folder).iterdir(), reverse=True):  # the model after its tokens
            os.replace(written, output.with_name(output.name + written.name.removeprefix(temporary.name)))
    getLogger().info(f"{output}: read back, its scores differ from the model's by at most {difference:.1e} (relative)")
    return output


def check_format(format: str) -> None:
    """Refuse an unknown format, and one whose packages are not installed.

    Raises:
        ExportError: no such format.
        ImportError: a package is missing.
    """
    if format not in FORMATS:
        raise ExportError(f"format [{format}] does not exist; choose one of {', '.join(FORMATS)}")
    for package in FORMATS[format]:
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise ImportError(
                f"format {format} needs {package}; install it with: pip install 'recbole_tslrec[{_EXTRAS[format]}]'"
            ) from error


def check_output(output: Path, model_folder: Path) -> None:
    """Refuse a file that cannot be written, or that would lie in an artifact.

    Raises:
        ExportError: its folder does not exist or is that of the model, or it is a folder itself.
    """
    if not output.parent.is_dir():
        raise ExportError(f"the folder of {output} does not exist; make {output.parent}, or set another --output")
    if output.is_dir():
        raise ExportError(f"{output} is a folder; name a file with --output")
    if model_folder.resolve() in output.resolve().parents:
        raise ExportError(f"{output} would lie in the model's folder, whose files are verified; set another --output")


@torch.no_grad()
def item_table(model: torch.nn.Module, tokens: list[str]) -> ItemTable:
    """The items as a model scores them.

    Args:
        model: in evaluation mode.
        tokens: the external tokens of its items 1..N.

    Raises:
        ExportError: the model does not score with an item table.
    """
    scoring = scoring_of(model)
    bias = scoring.bias(model)[1:].detach().float().cpu() if scoring.bias else None
    return ItemTable(tokens, scoring.table(model)[1:].detach().float().cpu(), bias)


def write_table(path: Path, model: torch.nn.Module, tokens: list[str], max_length: int) -> float:
    """Write an item table in the format that the ending of ``path`` names.

    Returns:
        The largest difference of a score, relative to the largest score.

    Raises:
        ExportError: what was read back differs from what was written, or does not score as the model does.
    """
    table = item_table(model, tokens)
    if path.suffix == ".ann":
        found = write_index(path, table, model)
    else:
        WRITERS[path.suffix](path, table, type(model).__name__)
        found = read_table(path)
    same_bias = found.bias is table.bias or torch.equal(found.bias, table.bias)  # type: ignore[arg-type]
    if found.tokens != table.tokens or not torch.equal(found.rows, table.rows) or not same_bias:
        raise ExportError(f"{path.suffix[1:]} cannot hold this item table: what was read back is not what was written")
    difference = difference_of_scores(model, found, max_length)
    if not difference <= TOLERANCE:  # NaN too
        raise ExportError(
            f"the item table of {type(model).__name__} does not give its scores (relative difference "
            f"{difference:.1e}, allowed {TOLERANCE:.0e}): it scores in another way than its backbone"
        )
    return difference


@torch.no_grad()
def difference_of_scores(model: Any, table: ItemTable, max_length: int) -> float:
    """How far scores from a table are from ``full_sort_predict``, relative to the largest score."""
    batch = random_histories(model, max_length, 16)
    expected = model.full_sort_predict(batch).view(16, -1)[:, 1:]  # [B, N]
    vectors = scoring_of(model).vectors(model, batch)  # [B, d]
    return relative_difference(linear(vectors, table.rows, table.bias), expected)
