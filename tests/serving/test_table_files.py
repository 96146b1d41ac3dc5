"""The files of an exported item table give back what was written, to this package and to RecBole."""

from pathlib import Path

import pytest
import torch

from recbole_tslrec.compatibility.reading import read_columns
from recbole_tslrec.serving.table_files import WRITERS, ItemTable, read_table

TOKENS = ["plain", "ä b", 'a"b', '"c', '"d"', "#N/A", "007", "1.0"]
ROWS = torch.randn(len(TOKENS), 3, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("ending", WRITERS)
@pytest.mark.parametrize("bias", [None, torch.linspace(-1, 1, len(TOKENS))])
def test_every_bit_comes_back(tmp_path: Path, ending: str, bias: torch.Tensor | None) -> None:
    path = tmp_path / f"table{ending}"
    WRITERS[ending](path, ItemTable(TOKENS, ROWS, bias), "SASRec")
    found = read_table(path)
    assert found.tokens == TOKENS
    assert torch.equal(found.rows, ROWS)
    assert found.bias is bias or torch.equal(found.bias, bias)


def test_recbole_reads_the_atomic_file(tmp_path: Path) -> None:
    path = tmp_path / "table.itememb"
    WRITERS[".itememb"](path, ItemTable(TOKENS[:5], ROWS[:5], None), "SASRec")
    table = read_columns(path, "\t", dtype=str)  # what this package lets RecBole call
    assert table["item_id:token"].tolist() == TOKENS[:5]
    rows = [list(map(float, text.split(" "))) for text in table["item_emb:float_seq"]]
    assert torch.equal(torch.tensor(rows), ROWS[:5])
