"""Which LLM a recipe means: the files of a folder, or the commit of a hub name."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from recbole_tslrec.llm import loading
from recbole_tslrec.llm.identity import LLMError, hub_revision, llm_content
from recbole_tslrec.llm.loading import check_llm, load_llm
from recbole_tslrec.llm.settings import LLMSettings
from recbole_tslrec.store.contents import ContentHashes
from tests.llm.gguf_files import write_gguf

MakeSettings = Callable[..., LLMSettings]
Content = Callable[[str | Path], dict[str, str]]

NAME = "somebody/some-decoder"
OLD, NEW = "0" * 40, "1" * 40  # commits


@pytest.fixture
def make_settings(make_config: Callable[..., Any]) -> MakeSettings:
    """``make_settings(name)``: an LLM by its name or folder."""
    return lambda name: LLMSettings.of(make_config(llm_name_or_path=str(name)))


@pytest.fixture
def content(make_settings: MakeSettings, tmp_path: Path) -> Content:
    """``content(name)``: what a recipe says of an LLM, with hashes that are kept for the next call."""
    hashes = ContentHashes(tmp_path / "hashes")
    return lambda name: llm_content(make_settings(name), hashes)


def overwrite(path: Path, content: bytes) -> None:
    """Write a file a second later than it was written before, as the clock may be too coarse for a test."""
    time = path.stat().st_mtime_ns + 10**9 if path.exists() else None
    path.write_bytes(content)
    if time:
        os.utime(path, ns=(time, time))


# folders


def test_scratch_has_no_content(content: Content) -> None:
    assert content("scratch") == {}


def test_an_llm_is_its_files_wherever_they_lie(content: Content, llama_folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(llama_folder, tmp_path / "elsewhere")
    assert content(copy) == content(llama_folder)


def test_other_weights_of_the_same_size_are_another_llm(content: Content, llama_folder: Path) -> None:
    """Under the same path, once the file's time of change differs."""
    before = content(llama_folder)
    weights = llama_folder / "model.safetensors"
    written = weights.read_bytes()
    overwrite(weights, written[:-1] + bytes([written[-1] ^ 1]))
    assert weights.stat().st_size == len(written)
    assert content(llama_folder) != before


@pytest.mark.parametrize(
    "name",
    [
        "config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "tokenizer.model",
        "merges.txt",
        "chat_template.jinja",
        "pytorch_model.bin",
        "model-00001-of-00002.safetensors",
        "modeling_own.py",
    ],
)
def test_another_file_of_the_checkpoint_is_another_llm(content: Content, llama_folder: Path, name: str) -> None:
    """Configuration, tokenizer, weights of any format, code: there or not, and changed."""
    path = llama_folder / name
    before = content(llama_folder)
    overwrite(path, path.read_bytes() + b" " if path.exists() else b"one")
    after = content(llama_folder)
    overwrite(path, b"another")
    assert len({found["llm"] for found in (before, after, content(llama_folder))}) == 3


def test_what_is_no_part_of_a_checkpoint_changes_nothing(content: Content, llama_folder: Path) -> None:
    before = content(llama_folder)
    (llama_folder / "README.md").write_text("# A small Llama")
    (llama_folder / ".gitattributes").write_text("*.safetensors filter=lfs")
    below = llama_folder / "checkpoint-500"
    below.mkdir()
    (below / "model.safetensors").write_bytes(b"of a training")
    (llama_folder / "named.json").mkdir()
    assert content(llama_folder) == before


def test_unchanged_llm_is_read_once(content: Content, llama_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = content(llama_folder)
    monkeypatch.setattr("recbole_tslrec.store.contents.hash_file", lambda path: pytest.fail(f"{path} is read again"))
    assert content(llama_folder) == before


@pytest.mark.parametrize("path", ["./nowhere", "/no/where", "~/nowhere-at-all", "no/such/folder"])
def test_folder_that_does_not_exist_is_refused(content: Content, path: str) -> None:
    with pytest.raises(
        LLMError, match=r"is no folder with a config\.json; check the path, or give a hub name"
    ) as refused:
        content(path)
    assert path.lstrip("./~") in str(refused.value)


def test_file_in_place_of_the_folder_is_refused(content: Content, llama_folder: Path) -> None:
    with pytest.raises(LLMError, match=r"config\.json\] is no folder with a config\.json"):
        content(llama_folder / "config.json")


def test_gguf_file_is_its_content_wherever_it_lies_and_whatever_its_name(
    content: Content, llama_folder: Path, tmp_path: Path
) -> None:
    file = write_gguf(llama_folder, tmp_path / "llama.gguf")
    before = content(file)
    assert content(shutil.copy(file, tmp_path / "other.gguf")) == before
    overwrite(file, file.read_bytes()[:-1] + b"1")
    assert content(file) != before


# hub names: the tests run with HF_HUB_OFFLINE=1


@pytest.fixture
def cache(tmp_path: Path, llama_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A local cache of the hub with two commits of one model, of which the main branch is the old one."""
    model = tmp_path / "hub" / "models--somebody--some-decoder"
    for commit in (OLD, NEW):
        shutil.copytree(llama_folder, model / "snapshots" / commit)
    newer = transformers.LlamaForCausalLM.from_pretrained(llama_folder)
    newer.model.embed_tokens.weight.data.add_(1)
    newer.save_pretrained(model / "snapshots" / NEW)
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text(OLD)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(model.parent))
    return model


def test_hub_name_in_the_cache_is_the_commit_of_its_snapshot(content: Content, cache: Path) -> None:
    assert content(NAME) == {"llm": OLD}
    (cache / "refs" / "main").write_text(NEW)
    assert content(NAME) == {"llm": NEW}


def test_hub_name_beyond_reach_is_refused(content: Content, cache: Path) -> None:
    with pytest.raises(LLMError, match=r"\[nobody/nothing\] is no folder, and its revision on the hub is unknown"):
        content("nobody/nothing")


def test_hub_name_that_is_not_in_the_cache_is_looked_up_and_kept(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its configuration comes into the cache: the next run, perhaps without a network, means the same commit."""
    (cache / "refs" / "main").unlink()

    def download(name: str, file: str) -> str:
        assert (name, file) == (NAME, "config.json")
        (cache / "refs" / "main").write_text(NEW)
        return str(cache / "snapshots" / NEW / file)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    assert hub_revision(NAME) == NEW
    monkeypatch.setattr("huggingface_hub.hf_hub_download", None)
    assert hub_revision(NAME) == NEW


def test_weights_that_the_cache_lacks_are_missed_at_once(make_settings: MakeSettings, cache: Path) -> None:
    """Offline, as tests are; else the hub has them."""
    (cache / "snapshots" / OLD / "model.safetensors").unlink()
    with pytest.raises(LLMError, match=rf"\[{NAME}\] cannot be loaded: it lacks files of weights"):
        check_llm(make_settings(NAME))


def test_what_is_loaded_is_the_commit_that_recipes_name(
    make_settings: MakeSettings, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By itself transformers would ask the hub for a newer one; here the main branch stands for that."""
    settings = make_settings(NAME)
    check_llm(settings)
    older = load_llm(settings).embed_tokens.weight
    monkeypatch.setattr(loading, "hub_revision", lambda name: NEW)
    torch.testing.assert_close(load_llm(settings).embed_tokens.weight, older + 1)
