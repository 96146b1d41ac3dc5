"""What is pushed is read again by ``knowledge_path``, over HTTP."""

import json

import pytest
import torch

from recbole_tslrec.augmentation.vectors import read_vectors
from recbole_tslrec.pipeline import run_stages
from recbole_tslrec.serving.export_command import main
from recbole_tslrec.serving.publishing import publish
from recbole_tslrec.serving.saved_model import load_model
from recbole_tslrec.serving.score_comparison import ExportError
from recbole_tslrec.settings import derive
from recbole_tslrec.store.artifacts import ArtifactError, open_artifact, write_manifest
from recbole_tslrec.store.hub import HubError
from tests.hub import TOKEN
from tests.serving.test_saved_model import model_folder


@pytest.fixture
def logged_in(hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    return hub


@pytest.fixture
def knowledge(trained):
    return trained("TSLRecSASRec").artifacts["knowledge"]


def test_knowledge_goes_up_with_its_card_and_comes_back_as_the_same_artifact(logged_in, knowledge, capsys):
    main([f"--model_folder={knowledge.folder}", "--push_to_hub=me/toy", "--hub_license=mit"])
    address = capsys.readouterr().out.strip()
    assert address == f"hf://me/toy@{logged_in.refs['me/toy']['main']}"
    names = {"README.md", "data.safetensors", "item_tokens.json", "manifest.json", ".gitattributes"}
    assert set(logged_in.files("me/toy")) == names
    assert b"license: mit" in logged_in.files("me/toy")["README.md"]
    assert torch.equal(read_vectors(address).rows, read_vectors(knowledge.folder).rows)


def test_a_model_of_what_was_pushed_is_the_one_that_was_trained_here(logged_in, trained, knowledge):
    publish(knowledge.folder, "me/toy", "mit")
    here = trained("TSLRecSASRec")
    there = run_stages(derive(here.config, knowledge_path="hf://me/toy"))
    assert there.reused["recommender"]
    assert there.artifacts["recommender"].folder == here.artifacts["recommender"].folder
    assert there.given["knowledge"].folder.name == logged_in.refs["me/toy"]["main"]


def test_the_table_of_a_model_goes_up_as_it_scores(logged_in, trained):
    folder = model_folder(trained("TSLRecSASRec"))
    publish(folder, "me/table", "other")
    assert set(logged_in.files("me/table")) == {"README.md", "item_table.safetensors", ".gitattributes"}
    table = load_model(folder).model.item_embedding.weight[1:]
    assert torch.equal(read_vectors("hf://me/table").rows, table)


def test_a_path_of_this_machine_does_not_go_up(logged_in, knowledge, tmp_path):
    manifest = json.loads((knowledge.folder / "manifest.json").read_text())
    manifest["settings"]["llm_name_or_path"] = "/home/me/llama"
    copied = tmp_path / "copied"
    copied.mkdir()
    for name in manifest["files"]:
        (copied / name).write_bytes((knowledge.folder / name).read_bytes())
    manifest.pop("hash")
    write_manifest(copied, manifest)
    publish(copied, "me/toy", "mit")
    pushed = json.loads(logged_in.files("me/toy")["manifest.json"])
    assert pushed["settings"]["llm_name_or_path"] == "llama"
    assert open_artifact(copied).hash == knowledge.hash
    assert read_vectors("hf://me/toy").tokens == knowledge.item_tokens()


@pytest.mark.parametrize("license", ["", "MIT License"])
def test_a_license_is_asked_for_and_none_is_made_up(hub, license):
    with pytest.raises(ExportError, match="is no license; say with --hub_license"):
        publish("nowhere", "me/toy", license)


def test_without_a_token_nothing_is_read_or_sent(hub):
    with pytest.raises(HubError, match="there is no token"):
        publish("nowhere", "me/toy", "mit")
    assert hub.requests == []


def test_what_has_no_vectors_is_refused(logged_in, trained):
    with pytest.raises(ArtifactError, match=r"holds \[groups\], no trained model"):
        publish(trained("TSLRecSASRec").artifacts["groups"].folder, "me/toy", "mit")
    assert logged_in.written == []


def test_a_file_or_the_hub_is_named_not_both(capsys):
    with pytest.raises(SystemExit):
        main(["--model_folder=nowhere", "--format=parquet", "--push_to_hub=me/toy"])
    assert "not allowed with" in capsys.readouterr().err
