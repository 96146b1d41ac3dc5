"""Vectors of an address on the hub are those of the files there."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from recbole_tslrec.augmentation.hub_vectors import chosen, fetch_vectors
from recbole_tslrec.augmentation.vectors import open_vectors, read_vectors
from recbole_tslrec.store.contents import ContentHashes
from recbole_tslrec.store.hub import HubAddress, HubError

ROWS = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
TABLE = save({"vectors": ROWS}, {"tokens": '["a", "b"]'})
VECTORS = HubAddress("me/vectors", "main", "")


def files_of(artifact):
    return {path.name: path.read_bytes() for path in artifact.folder.iterdir() if path.is_file()}


def test_the_only_table_of_a_repository_is_read(hub):
    commit = hub.commit("me/vectors", {"README.md": b"", "table.safetensors": TABLE, "model.bin": b"pickled"})
    found = read_vectors("hf://me/vectors")
    assert found.tokens == ["a", "b"]
    assert torch.equal(found.rows, ROWS)
    assert found.source.parent.name == commit
    assert not (found.source.parent / "model.bin").exists()


def test_an_artifact_on_the_hub_is_the_same_as_here(hub, make_knowledge, tmp_path):
    here = make_knowledge(["a", "b"], ROWS)
    commit = hub.commit("me/vectors", {**files_of(here), "README.md": b""})
    there = open_vectors("hf://me/vectors", ContentHashes(tmp_path))
    assert there.hash == here.hash  # so whatever was made of it is found again
    assert there.folder.name == commit
    assert torch.equal(read_vectors("hf://me/vectors").rows, ROWS)


def test_a_file_is_what_it_holds_in_whichever_commit(hub, tmp_path):
    hub.commit("me/vectors", {"table.safetensors": TABLE}, ref="v1")
    hub.commit("me/vectors", {"README.md": b"changed"}, ref="v1")
    hub.commit("me/vectors", {"table.safetensors": save({"vectors": ROWS + 1}, {"tokens": '["a", "b"]'})})
    hashes = ContentHashes(tmp_path)
    first, changed = (open_vectors(f"hf://me/vectors{revision}", hashes) for revision in ("@v1", ""))
    assert first.hash != changed.hash


def test_a_damaged_artifact_is_refused(hub, make_knowledge):
    files = files_of(make_knowledge(["a", "b"], ROWS))
    hub.commit("me/vectors", {**files, "data.safetensors": TABLE})
    with pytest.raises(RuntimeError, match="differs from its hash"):
        read_vectors("hf://me/vectors")


def test_a_file_may_be_named_and_brings_its_tokens_along(hub):
    files = {"deep/one.safetensors": save({"vectors": ROWS}), "deep/tokens.txt": b"a\nb\n", "two.parquet": b""}
    hub.commit("me/vectors", files)
    assert fetch_vectors(Path("hf://me/vectors/deep/one.safetensors")).name == "one.safetensors"
    assert read_vectors("hf://me/vectors/deep/one.safetensors").tokens == ["a", "b"]


@pytest.mark.parametrize(
    ("files", "file", "said"),
    [
        (["a.safetensors", "b.parquet"], "", "name one: hf://me/vectors@main/a.safetensors"),
        (["README.md", "model.pt"], "", "neither a knowledge artifact nor item vectors"),
        (["model.pt"], "model.pt", "only .safetensors, .parquet, .json, .jsonl are read"),
        (["a.parquet"], "b.parquet", "does not exist: the repository has a.parquet"),
    ],
)
def test_what_cannot_be_meant_is_said(files, file, said):
    with pytest.raises(HubError, match=said):
        chosen(files, VECTORS._replace(file=file))
