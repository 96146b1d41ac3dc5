"""An exported item table scores as the model does, whoever reads it."""

import json
import logging
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from pyarrow import parquet
from safetensors import safe_open
from safetensors.torch import load_file

from recbole_tslrec.augmentation.vectors import read_vectors
from recbole_tslrec.cli import COMMANDS
from recbole_tslrec.models.backbones import BACKBONES
from recbole_tslrec.models.scoring import Scoring
from recbole_tslrec.serving.export_command import main
from recbole_tslrec.serving.model_export import ExportError, export
from recbole_tslrec.serving.saved_model import load_model
from recbole_tslrec.serving.score_comparison import scoring_of
from recbole_tslrec.serving.table_files import WRITERS, ItemTable, read_table
from recbole_tslrec.store.artifacts import ArtifactError
from tests.serving.test_saved_model import model_folder

TABLE_FORMATS = ["safetensors", "parquet", "itememb"]
NO_PRODUCT = {"GRU4RecCPR", "RepeatNet", "SASRecCPR", "TransRec"}
table_formats = pytest.mark.parametrize("format", TABLE_FORMATS)


@pytest.fixture
def sasrec(trained):
    return model_folder(trained("SASRec"))


def awkward_table(bias):
    """Values and tokens that a careless text format loses."""
    rows = [[0.1, -0.0, 1 / 3], [1e-42, 3.4e38, -1e-30], [16777217.0, 5e-324, 0.3333333]]
    biases = torch.tensor([0.1, -1 / 3, 1e-42]) if bias else None
    return ItemTable(["a b", '"q"', "ü,'NA"], torch.tensor(rows), biases)


# What is exported


def test_table_of_every_backbone_gives_the_scores_of_its_users(fresh, tmp_path):
    """Or there is a sentence that says why there is no such table."""
    name = type(fresh.model).__name__
    if name.removeprefix("TSLRec") in NO_PRODUCT:
        with pytest.raises(ExportError, match=f"^{name} does not score by the product"):
            export(fresh.artifact.folder, "safetensors", tmp_path / "table.safetensors")
        return
    tensors = load_file(str(export(fresh.artifact.folder, "safetensors", tmp_path / "table.safetensors")))
    with torch.no_grad():
        vectors = scoring_of(fresh.model).vectors(fresh.model, fresh.users)
    scores = vectors @ tensors["item_table"].T + tensors.get("item_bias", 0)
    torch.testing.assert_close(scores, fresh.scores(fresh.model)[:, 1:])
    assert ("item_bias" in tensors) == (name == "TSLRecBERT4Rec")


def test_fused_table_is_exported_not_the_ids(trained, tmp_path):
    folder = model_folder(trained("TSLRecSASRec"))
    model = load_model(folder).model
    rows = load_file(str(export(folder, "safetensors", tmp_path / "table")))["item_table"]
    assert torch.equal(rows, model.item_embedding.weight[1:])
    assert not torch.equal(rows, model.item_embedding.parametrizations.weight.original[1:])


# Formats, read by others' readers


@table_formats
@pytest.mark.parametrize("bias", [False, True])
def test_format_keeps_every_bit(tmp_path, format, bias):
    table, path = awkward_table(bias), tmp_path / f"table.{format}"
    WRITERS[path.suffix](path, table, "SASRec")
    found = read_table(path)
    assert found.tokens == table.tokens
    assert torch.equal(found.rows.view(torch.int32), table.rows.view(torch.int32))
    assert torch.equal(found.bias, table.bias) if bias else found.bias is None


def test_safetensors_names_its_items_and_its_model(sasrec, tmp_path):
    path = export(sasrec, "safetensors", tmp_path / "table.safetensors")
    with safe_open(str(path), framework="pt") as file:
        assert json.loads(file.metadata()["tokens"]) == load_model(sasrec).item_tokens
        assert file.metadata()["model"] == "SASRec"


def test_parquet_has_a_row_for_each_item(sasrec, tmp_path):
    table = parquet.read_table(export(sasrec, "parquet", tmp_path / "table.parquet"))
    assert table.column_names == ["item_id", "vector"]
    assert str(table.schema.field("vector").type).startswith("fixed_size_list<")
    assert table["item_id"].to_pylist() == load_model(sasrec).item_tokens
    row = load_model(sasrec).model.item_embedding.weight[1].tolist()
    assert table["vector"][0].as_py() == row


def test_itememb_is_an_atomic_file_of_recbole(sasrec, tmp_path):
    header, first, *_ = export(sasrec, "itememb", tmp_path / "toy.itememb").read_text().splitlines()
    assert header == "item_id:token\titem_emb:float_seq"
    token, vector = first.split("\t")
    saved = load_model(sasrec)
    assert token == saved.item_tokens[0]
    assert torch.equal(torch.tensor(list(map(float, vector.split(" ")))), saved.model.item_embedding.weight[1])


@table_formats
def test_export_is_knowledge_for_another_model(sasrec, tmp_path, format):
    vectors = read_vectors(export(sasrec, format, tmp_path / f"table.{format}"))
    saved = load_model(sasrec)
    assert vectors.tokens == saved.item_tokens
    assert torch.equal(vectors.rows, saved.model.item_embedding.weight[1:])


# The check


def test_difference_is_logged(sasrec, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    export(sasrec, "safetensors", tmp_path / "table")
    assert "its scores differ from the model's by at most 0.0e+00" in caplog.text


def test_table_that_gives_other_scores_is_refused(sasrec, tmp_path, monkeypatch):
    halved = Scoring(table=lambda model: model.item_embedding.weight / 2)
    monkeypatch.setitem(BACKBONES, "SASRec", replace(BACKBONES["SASRec"], scoring=halved))
    with pytest.raises(ExportError, match=r"the item table of SASRec does not give its scores \(relative difference"):
        export(sasrec, "safetensors", tmp_path / "table")
    assert list(tmp_path.glob("*table*")) == []


def test_failed_export_leaves_the_former_file(sasrec, tmp_path, monkeypatch):
    def rounded(path, table, model):
        write(path, ItemTable(table.tokens, table.rows.half().float(), table.bias), model)

    write = WRITERS[".itememb"]
    monkeypatch.setitem(WRITERS, ".itememb", rounded)
    output = tmp_path / "table.itememb"
    output.write_text("former")
    with pytest.raises(ExportError, match="itememb cannot hold this item table"):
        export(sasrec, "itememb", output)
    assert output.read_text() == "former"


def test_existing_file_is_replaced(sasrec, tmp_path):
    output = tmp_path / "table.itememb"
    output.write_text("former")
    assert export(sasrec, "itememb", output) == output
    assert output.read_text().startswith("item_id:token")
    assert list(tmp_path.glob("*table*")) == [output]


@table_formats
def test_file_can_be_read_by_whom_a_new_file_can(sasrec, tmp_path, format):
    """The server may run as another user."""
    plain = tmp_path / "plain"
    plain.touch()
    assert export(sasrec, format, tmp_path / "table").stat().st_mode == plain.stat().st_mode


# The command


def test_command_writes_beside_nothing_but_where_it_runs(sasrec, capsys, tmp_path):
    """The name is that of the folder; nothing goes into the folder itself, whose files are verified."""
    assert COMMANDS["export"].module == "recbole_tslrec.serving.export_command"
    main([f"--model_folder={sasrec}", "--format=itememb"])
    assert capsys.readouterr().out == f"{sasrec.name}.itememb\n"
    assert (tmp_path / f"{sasrec.name}.itememb").is_file()  # the working directory of every test
    load_model(sasrec)


# Bad input


def test_unknown_format_names_those_that_there_are(sasrec):
    with pytest.raises(ExportError, match=r"\[csv\] does .* of safetensors, parquet, itememb, onnx, ann"):
        export(sasrec, "csv")


@pytest.mark.parametrize(
    ("format", "package", "extra"),
    [
        ("onnx", "onnxruntime", "serving"),
        ("onnx", "onnxscript", "serving"),
        ("onnx", "onnx", "serving"),
        ("ann", "usearch", "ann"),
    ],
)
def test_missing_package_names_the_extra_before_anything_is_read(monkeypatch, format, package, extra):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf"{format} needs {package}; .* 'recbole_tslrec\[{extra}\]'"):
        export("nowhere", format)


def test_output_without_a_folder_is_refused(sasrec, tmp_path):
    with pytest.raises(ExportError, match=r"the folder of .*table does not exist; make"):
        export(sasrec, "itememb", tmp_path / "no" / "table")


def test_output_that_is_a_folder_is_refused(sasrec, tmp_path):
    with pytest.raises(ExportError, match="is a folder; name a file"):
        export(sasrec, "itememb", tmp_path)


def test_output_in_the_model_folder_is_refused(sasrec):
    with pytest.raises(ExportError, match="would lie in the model's folder"):
        export(sasrec, "itememb", Path(sasrec) / "table.itememb")


def test_folder_without_a_model_is_refused(trained):
    with pytest.raises(ArtifactError, match=r"holds \[knowledge\], no trained model"):
        export(trained("TSLRecSASRec").artifacts["knowledge"].folder, "itememb")
