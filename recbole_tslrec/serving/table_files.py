"""The files of an exported item table: safetensors, parquet, and RecBole's atomic file. Each gives every bit back."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from recbole_tslrec.augmentation.vectors import read_vectors
from recbole_tslrec.store.files import write_tensors
from recbole_tslrec.version import __version__

ITEMEMB_BIAS = "item_bias:float"


@dataclass(frozen=True)
class ItemTable:
    """The items as a model scores them: score = vector of the sequence @ row + bias.

    Attributes:
        tokens: the external tokens of the N items.
        rows: float32 [N, d], without the pad.
        bias: float32 [N], where the model has one.
    """

    tokens: list[str]
    rows: Tensor
    bias: Tensor | None


def read_table(path: Path) -> ItemTable:
    """An exported item table, by the ending of its name.

    Raises:
        VectorsError: the file is damaged.
    """
    vectors = read_vectors(path)
    return ItemTable(vectors.tokens, vectors.rows, BIAS_READERS[path.suffix](path))


def _write_safetensors(path: Path, table: ItemTable, model: str) -> None:
    tensors = {"item_table": table.rows} if table.bias is None else {"item_table": table.rows, "item_bias": table.bias}
    metadata = {"tokens": json.dumps(table.tokens, ensure_ascii=False), "model": model, "version": __version__}
    write_tensors(path, tensors, metadata)


def _read_safetensors_bias(path: Path) -> Tensor | None:
    return load_file(str(path)).get("item_bias")


def _write_parquet(path: Path, table: ItemTable, model: str) -> None:
    import pyarrow
    from pyarrow import parquet

    values = pyarrow.array(table.rows.flatten().numpy())
    columns = {
        "item_id": pyarrow.array(table.tokens, pyarrow.string()),
        "vector": pyarrow.FixedSizeListArray.from_arrays(values, table.rows.shape[1]),
    }
    if table.bias is not None:
        columns["bias"] = pyarrow.array(table.bias.numpy())
    metadata = {"model": model, "version": __version__}
    parquet.write_table(pyarrow.table(columns).replace_schema_metadata(metadata), path, compression="zstd")


def _read_parquet_bias(path: Path) -> Tensor | None:
    from pyarrow import parquet

    if "bias" not in parquet.read_schema(path).names:
        return None
    column = parquet.read_table(path, columns=["bias"]).column("bias")
    return torch.from_numpy(column.to_numpy().copy())


def _write_itememb(path: Path, table: ItemTable, model: str) -> None:
    fields = ["item_id:token", "item_emb:float_seq", *([] if table.bias is None else [ITEMEMB_BIAS])]
    biases = [[] for _ in table.tokens] if table.bias is None else table.bias.unsqueeze(1).tolist()
    numbers = " ".join(["%.9g"] * table.rows.shape[1])  # nine digits give a float32 back exactly
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write("\t".join(fields) + "\n")
        for token, row, bias in zip(table.tokens, table.rows, biases, strict=True):
            file.write("\t".join([token, numbers % tuple(row.tolist()), *(f"{value:.9g}" for value in bias)]) + "\n")


def _read_itememb_bias(path: Path) -> Tensor | None:
    with path.open(encoding="utf-8", newline="\n") as file:
        if not next(file).rstrip("\n").endswith(f"\t{ITEMEMB_BIAS}"):
            return None
        return torch.tensor([float(line.rpartition("\t")[2]) for line in file], dtype=torch.float32)


WRITERS: dict[str, Callable[[Path, ItemTable, str], None]] = {
    ".safetensors": _write_safetensors,
    ".parquet": _write_parquet,
    ".itememb": _write_itememb,
}
BIAS_READERS: dict[str, Callable[[Path], Tensor | None]] = {
    ".safetensors": _read_safetensors_bias,
    ".parquet": _read_parquet_bias,
    ".itememb": _read_itememb_bias,
}
