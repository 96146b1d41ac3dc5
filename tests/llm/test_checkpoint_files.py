"""What people have where an LLM should be: each kind of fault is named before anything is loaded, with its own cure."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from recbole_tslrec.llm import checkpoint_files
from recbole_tslrec.llm.checkpoint_files import hub_snapshot
from recbole_tslrec.llm.identity import LLMError
from recbole_tslrec.llm.loading import check_llm, load_llm
from recbole_tslrec.llm.settings import LLMSettings
from tests.llm.gguf_files import write_gguf

Spoil = Callable[[Path], Path | None]
LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:4665\nsize 1044992\n"


@pytest.fixture
def check(make_config: Callable[..., Any]) -> Callable[[Path], None]:
    """``check(path)``: the check that comes before the first stage."""
    return lambda path: check_llm(LLMSettings.of(make_config(llm_name_or_path=str(path))))


def sharded(folder: Path, pickled: bool = False) -> Path:
    """The same weights in files of one layer or less, with an index."""
    llm = transformers.LlamaForCausalLM.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    llm.save_pretrained(folder, max_shard_size="4KB")
    if pickled:
        index = json.loads((folder / "model.safetensors.index.json").read_text())
        for file in set(index["weight_map"].values()):
            shard = {name: llm.state_dict()[name] for name, place in index["weight_map"].items() if place == file}
            torch.save(shard, folder / file.replace("safetensors", "bin"))
            (folder / file).unlink()
        (folder / "model.safetensors.index.json").unlink()
        index["weight_map"] = {name: file.replace("safetensors", "bin") for name, file in index["weight_map"].items()}
        (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    return folder


def pickled(folder: Path) -> Path:
    torch.save(transformers.LlamaForCausalLM.from_pretrained(folder).state_dict(), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    return folder


def _emptied(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def _cut_short(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])


def _missing_shard(folder: Path) -> None:
    next(iter(sorted(sharded(folder).glob("*-of-*.safetensors"))[1:])).unlink()


def _missing_pickled_shard(folder: Path) -> None:
    next(iter(sorted(sharded(folder, pickled=True).glob("*-of-*.bin"))[1:])).unlink()


def _missing_index(folder: Path) -> None:
    (sharded(folder) / "model.safetensors.index.json").unlink()


def _cut_pickle(folder: Path) -> None:
    weights = pickled(folder) / "pytorch_model.bin"
    weights.write_bytes(weights.read_bytes()[:5000])


def _code_in_pickle(folder: Path) -> None:
    torch.save({"lm_head.weight": Path("anything")}, pickled(folder) / "pytorch_model.bin")


def _adapter(folder: Path) -> None:
    _emptied(folder)
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "Qwen/Qwen3-0.6B"}))
    (folder / "adapter_model.safetensors").write_bytes(b"")


def _cache_of_two(folder: Path) -> Path:
    cache = folder.parent / "models--somebody--some-decoder"
    for commit in ("a" * 40, "b" * 40):
        shutil.copytree(folder, cache / "snapshots" / commit)
    return cache


def _whole_cache(folder: Path) -> Path:
    return _cache_of_two(shutil.move(folder, folder.parent / "hub" / "llama")).parent


def _only_gguf(folder: Path) -> None:
    _emptied(folder)
    (folder / "llama.Q4_K_M.gguf").write_bytes(b"GGUF")


def _broken_link(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to("../../blobs/4665")


def _no_tokenizer(folder: Path) -> None:
    for file in folder.glob("*token*"):
        file.unlink()


def _archive(folder: Path) -> str:
    return shutil.make_archive(str(folder), "zip", folder)


def _written(name: str, text: str) -> Spoil:
    def spoil(folder: Path) -> None:
        (folder / name).write_text(text)

    return spoil


def _renamed(name: str, other: str) -> Spoil:
    def spoil(folder: Path) -> None:
        (folder / name).rename(folder / other)

    return spoil


# what is wrong -> how a whole folder is made so (which may give another path), and what is said of it
FAULTS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no folder": (lambda folder: folder / "nowhere", r"nowhere\] is no folder with a config.json; check the path"),
    "an address": (lambda folder: "https://huggingface.co/Qwen/Qwen3-0.6B", "give the hub name.*Qwen/Qwen3-0.6B"),
    "an empty folder": (_emptied, "is an empty folder; fetch the model into it: hf download"),
    "an adapter": (_adapter, r"is an adapter .* for \[Qwen/Qwen3-0.6B\].*merge_and_unload"),
    "a cache folder of two": (_cache_of_two, "several snapshots; give one of them: .*snapshots/a{40}, .*b{40}"),
    "the whole cache": (_whole_cache, "is the hub's cache; give a hub name instead, such as somebody/some-decoder"),
    "one level too high": (lambda folder: folder.parent, "one below it; give .*/llama$"),
    "only a GGUF file": (_only_gguf, "give the file: .*/llama.Q4_K_M.gguf"),
    "the config file": (lambda folder: folder / "config.json", "but a file in one; give the folder, .*/llama$"),
    "an archive": (_archive, "is an archive; unpack it"),
    "no config": (lambda folder: (folder / "config.json").unlink(), "is no folder with a config.json"),
    "no JSON in config": (
        _written("config.json", "{"),
        "config.json that is not JSON .*line 1 column 2.*fetch that file",
    ),
    "config of nothing": (_written("config.json", "{}"), "config.json has no model_type"),
    "unknown architecture": (_written("config.json", '{"model_type": "llama9"}'), "does not know its architecture"),
    "TensorFlow": (_renamed("model.safetensors", "tf_model.h5"), r"tf_model.h5 \(TensorFlow\).*safetensors"),
    "original format": (_renamed("model.safetensors", "consolidated.00.pth"), "the model's authors' own format"),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "holds no weights"),
    "another name": (_renamed("model.safetensors", "llama.safetensors"), "no model.safetensors but llama.safetensors"),
    "LFS pointer": (_written("model.safetensors", LFS), "model.safetensors is a Git LFS pointer .*run git lfs pull"),
    "LFS tokenizer": (_written("tokenizer.json", LFS), "tokenizer.json is a Git LFS pointer .*run git lfs pull"),
    "web page": (_written("tokenizer.json", "<!DOCTYPE html><html>"), "tokenizer.json is a web page"),
    "empty file": (_written("model.safetensors", ""), "model.safetensors is an empty file"),
    "broken link": (_broken_link, "links to files that are not there: model.safetensors; copy .* with cp -rL"),
    "cut short": (_cut_short, "model.safetensors is cut short or damaged, at [0-9,]+ bytes.*fetch this file again"),
    "missing shard": (_missing_shard, "lacks 1 of the .* weights that its index names: model-00002-of-.*safetensors;"),
    "missing .bin": (_missing_pickled_shard, "lacks 1 of the .* weights that its index names: model-00002-of-.*bin;"),
    "missing index": (_missing_index, "but not model.safetensors.index.json, which says what is where"),
    "index of nothing": (_written("model.safetensors.index.json", "[]"), "index.json names no weights"),
    "cut .bin": (_cut_pickle, "pytorch_model.bin is cut short or damaged, at 5,000 bytes"),
    "code in .bin": (_code_in_pickle, "pytorch_model.bin is a pickle of more than tensors, which could run code"),
    "no tokenizer": (_no_tokenizer, "holds no tokenizer .*--include '\\*token\\*'"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_has_its_own_cure(check: Callable[[Path], None], llama_folder: Path, fault: str) -> None:
    spoil, message = FAULTS[fault]
    path = spoil(llama_folder) or llama_folder
    with pytest.raises(LLMError, match=message) as refused:
        check(path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("form", [sharded, lambda folder: sharded(folder, pickled=True), pickled])
def test_weights_are_taken_in_any_form(
    make_config: Callable[..., Any], llama_folder: Path, form: Callable[[Path], Path]
) -> None:
    expected = transformers.LlamaModel.from_pretrained(llama_folder).embed_tokens.weight
    settings = LLMSettings.of(make_config(llm_name_or_path=str(form(llama_folder))))
    check_llm(settings)
    assert torch.equal(load_llm(settings).embed_tokens.weight, expected)


def test_folder_of_the_hubs_cache_is_its_main_snapshot(
    make_config: Callable[..., Any], check: Callable[[Path], None], llama_folder: Path
) -> None:
    cache = _cache_of_two(llama_folder)
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text("b" * 40 + "\n")
    check(cache)
    assert LLMSettings.of(make_config(llm_name_or_path=str(cache))).source == str(cache / "snapshots" / ("b" * 40))


@pytest.mark.parametrize("name", ["Qwen/Qwen3-0.6B", "./models--x", "~/llama", "scratch"])
def test_other_names_are_left_as_they_are(name: str) -> None:
    assert hub_snapshot(name) == name


def test_folder_of_sentence_transformers_serves(check: Callable[[Path], None], llama_folder: Path) -> None:
    (llama_folder / "modules.json").write_text(
        json.dumps([{"idx": 0, "path": "", "type": "sentence_transformers.models.Transformer"}])
    )
    (llama_folder / "1_Pooling").mkdir()
    check(llama_folder)


# GGUF files


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


GGUF_FAULTS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no such file": (lambda file: file.with_name("other.gguf"), "there is no such file; .*hf download .* other.gguf"),
    "LFS pointer": (lambda file: file.write_text(LFS) and None, "is a Git LFS pointer"),
    "other contents": (lambda file: file.write_text("GGML") and None, "is no GGUF file, though it has that name"),
    "cut short": (_cut, "is cut short or damaged, at [0-9,]+ bytes"),
}


@pytest.mark.parametrize("fault", GGUF_FAULTS)
def test_gguf_files_are_looked_at_as_well(check: Callable[[Path], None], llama_folder: Path, fault: str) -> None:
    file = write_gguf(llama_folder, llama_folder.parent / "llama.gguf")
    spoil, message = GGUF_FAULTS[fault]
    with pytest.raises(LLMError, match=message):
        check(spoil(file) or file)


def test_one_part_of_a_gguf_file_says_how_to_join_them(check: Callable[[Path], None], llama_folder: Path) -> None:
    file = write_gguf(llama_folder, llama_folder.parent / "llama.gguf", parts=2)
    with pytest.raises(LLMError, match=r"is one of 2 parts.*llama-gguf-split --merge llama\.gguf"):
        check(file)


def test_gguf_file_of_an_unknown_architecture_is_refused(check: Callable[[Path], None], llama_folder: Path) -> None:
    file = write_gguf(llama_folder, llama_folder.parent / "clip.gguf", architecture="clip")
    with pytest.raises(LLMError, match="transformers does not read GGUF files of its architecture"):
        check(file)


def test_gguf_without_its_package_names_the_extra(
    check: Callable[[Path], None], llama_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (llama_folder / "llama.gguf").write_bytes(b"GGUF")
    monkeypatch.setattr(checkpoint_files, "find_spec", lambda name: None)
    with pytest.raises(LLMError, match=r"needs the package gguf.*'recbole_tslrec\[gguf\]'"):
        check(llama_folder / "llama.gguf")
