"""What lies on the disk under ``llm_name_or_path``, looked at before anything is loaded.

Every kind of folder or file that people give by mistake, or have in part, is one function: it gives the reason why it
cannot be loaded, with the cure for that kind, or ``None``.
"""

import pickle
import zipfile
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from recbole_tslrec.store.files import read_json

Check = Callable[[Path], str | None]

CONFIG, ADAPTER, GGUF = "config.json", "adapter_config.json", ".gguf"
_DOWNLOAD = "hf download <its hub name> --local-dir"  # goes on with what is there
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # in transformers' order; each of them, or its index and shards
_TOKENIZER = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "tekken.json")
_LFS = b"version https://git-lfs.github.com/spec/"
# weights that transformers does not read
_FOREIGN = {
    ".h5": "TensorFlow",
    ".msgpack": "Flax",
    ".onnx": "ONNX",
    ".pth": "the model's authors' own format",
    ".pt": "the model's authors' own format",
    ".ckpt": "a training framework's format",
    ".mlmodel": "Core ML",
}


def hub_snapshot(name: str) -> str:
    """The snapshot inside a folder of the hub's cache (``models--owner--name``); any other name or path as it is.

    It is the one that ``main`` stands for, or the only one.
    """
    path = Path(name)
    if not path.name.startswith("models--") or not (path / "snapshots").is_dir():
        return name
    main = path / "refs" / "main"
    commits = [main.read_text().strip()] if main.is_file() else [found.name for found in _folders(path / "snapshots")]
    return str(path / "snapshots" / commits[0]) if len(commits) == 1 else name


def is_gguf(source: str) -> bool:
    """Whether a name or path is a single file of weights; files that are none are refused by themselves."""
    return Path(source).is_file()


def why_no_checkpoint(path: Path) -> str | None:
    """Why a path is not one of those that can be loaded: a folder with a config.json, or a GGUF file."""
    return _first(_FILES if path.is_file() else _FOLDERS, path)


def why_incomplete(path: Path) -> str | None:
    """Why a folder or file lacks something, or is damaged. Of the weights only headers are read."""
    return _first(_WHOLE_FILES if path.is_file() else _WHOLE_FOLDERS, path)


def gguf_tensors(path: Path) -> list[Any]:
    """The tensors of a GGUF file as its package describes them, on the disk: name, shape, type."""
    from gguf import GGUFReader

    return list(GGUFReader(path).tensors)


def _first(checks: Iterable[Check], path: Path) -> str | None:
    return next((reason for check in checks if (reason := check(path)) is not None), None)


# folders


def _missing(path: Path) -> str | None:
    if path.is_dir():
        return None
    if path.parts and path.parts[0] in ("http:", "https:"):
        return f"is an address; give the hub name in it, such as {'/'.join(path.parts[2:4])}"
    if path.suffix == GGUF:
        return f"there is no such file; check the path, or fetch it: hf download <its hub name> {path.name}"
    return f"is no folder with a {CONFIG}; check the path, or give a hub name"


def _empty(path: Path) -> str | None:
    if any(path.iterdir()):
        return None
    return f"is an empty folder; fetch the model into it: {_DOWNLOAD} {path}"


def _adapter(path: Path) -> str | None:
    if not (path / ADAPTER).is_file():
        return None
    base = _json(path / ADAPTER).get("base_model_name_or_path") or "its base model"
    return (
        f"is an adapter ({ADAPTER}) for [{base}], not a whole model; give that one, or merge the two first: "
        "AutoPeftModel.from_pretrained(adapter).merge_and_unload().save_pretrained(folder)"
    )


def _cache_folder(path: Path) -> str | None:
    if (path / CONFIG).is_file() or not (path / "snapshots").is_dir():
        return None
    commits = [str(found) for found in _folders(path / "snapshots")]
    if not commits:
        return "is a folder of the hub's cache without a snapshot; download the model anew, or give its hub name"
    return f"is a folder of the hub's cache with several snapshots; give one of them: {_some(commits)}"


def _whole_cache(path: Path) -> str | None:
    names = [found.name for found in _folders(path) if found.name.startswith("models--")]
    if (path / CONFIG).is_file() or not names:
        return None
    return f"is the hub's cache; give a hub name instead, such as {names[0][len('models--') :].replace('--', '/')}"


def _one_level_too_high(path: Path) -> str | None:
    below = [found for found in _folders(path) if (found / CONFIG).is_file()]
    if (path / CONFIG).is_file() or not below:
        return None
    whole = [found for found in below if _weight_names(found)] or below  # sentence-transformers has configs without
    return f"is no folder with a {CONFIG}, but there is one below it; give {_some(map(str, whole))}"


def _only_gguf(path: Path) -> str | None:
    files = sorted(path.glob(f"*{GGUF}"))
    if not files or ((path / CONFIG).is_file() and _weight_names(path)):
        return None
    return f"holds a GGUF file rather than transformers' weights; give the file: {_some(map(str, files))}"


def _foreign(path: Path) -> str | None:
    kinds = {file.name: _FOREIGN[file.suffix] for file in sorted(path.iterdir()) if file.suffix in _FOREIGN}
    if (path / "consolidated.safetensors").is_file():
        kinds["consolidated.safetensors"] = "the model's authors' own format"
    if not kinds or ((path / CONFIG).is_file() and _weight_names(path)):
        return None
    name, kind = next(iter(kinds.items()))
    return f"holds weights as {name} ({kind}), which transformers does not read; take the model's safetensors files"


def _no_config(path: Path) -> str | None:
    if (path / CONFIG).is_file():
        return None
    return f"is no folder with a {CONFIG}; check the path, or give a hub name"


def _unreadable_config(path: Path) -> str | None:
    try:
        found = read_json(path / CONFIG)
    except ValueError as error:
        return f"has a {CONFIG} that is not JSON ({error}); fetch that file again: {_DOWNLOAD} {path}"
    return None if isinstance(found, dict) else f"has a {CONFIG} that holds no object; fetch that file again"


# what is in a folder


def _dangling_links(path: Path) -> str | None:
    names = sorted(file.name for file in path.iterdir() if file.is_symlink() and not file.exists())
    if not names:
        return None
    return (
        f"holds links to files that are not there: {_some(names)}; copy a folder of the hub's cache with cp -rL, or "
        f"fetch the model anew: {_DOWNLOAD} <folder>"
    )


def _placeholders(path: Path) -> str | None:
    for file in sorted(found for found in path.iterdir() if found.is_file()):
        if file.name in _TOKENIZER or file.suffix in (".safetensors", ".bin", ".json", GGUF):
            reason = _placeholder(file)
            if reason:
                return f"{file.name} {reason}"
    return None


def _placeholder(file: Path) -> str | None:
    start = _beginning(file)
    if start.startswith(_LFS):
        return (
            "is a Git LFS pointer of a few lines in the place of the file; run git lfs pull in its folder, or "
            f"{_DOWNLOAD} {file.parent}"
        )
    if start.lstrip().lower().startswith((b"<!doctype html", b"<html")):
        return f"is a web page in the place of the file; download it with: {_DOWNLOAD} {file.parent}"
    if not start:
        return f"is an empty file; fetch it again: {_DOWNLOAD} {file.parent}"
    return None


def _unreadable_index(path: Path) -> str | None:
    for single in _WEIGHTS:
        index = path / f"{single}.index.json"
        if index.is_file() and not isinstance(_json(index).get("weight_map"), dict):
            return f"{index.name} names no weights; fetch that file again: {_DOWNLOAD} {path}"
    return None


def _no_weights(path: Path) -> str | None:
    if _weight_names(path):
        return None
    shards = sorted(file.name for file in path.glob("*-of-*") if file.suffix in (".safetensors", ".bin"))
    if shards:
        index = "model.safetensors.index.json" if shards[0].endswith("safetensors") else "pytorch_model.bin.index.json"
        return f"holds {_some(shards)} but not {index}, which says what is where; fetch it: {_DOWNLOAD} {path}"
    others = sorted(file.name for file in path.glob("*") if file.suffix in (".safetensors", ".bin"))
    if others:
        return f"holds no model.safetensors but {_some(others)}; rename the file if it holds the model's weights"
    return f"holds no weights (model.safetensors or pytorch_model.bin); fetch them: {_DOWNLOAD} {path}"


def _missing_shards(path: Path) -> str | None:
    names = _weight_names(path)
    missing = [name for name in names if not (path / name).is_file()]
    if not missing:
        return None
    return (
        f"lacks {len(missing)} of the {len(names)} files of weights that its index names: {_some(missing)}; fetch "
        f"what is missing: {_DOWNLOAD} {path}"
    )


def _damaged_weights(path: Path) -> str | None:
    for name in _weight_names(path):
        reason = _damaged_safetensors(path / name) if name.endswith(".safetensors") else _damaged_pickle(path / name)
        if reason:
            return f"{name} {reason}"
    return None


def _damaged_safetensors(file: Path) -> str | None:
    try:
        with safe_open(str(file), "pt"):  # reads the header and compares it with the file's length
            return None
    except (SafetensorError, OSError) as error:
        return f"is cut short or damaged, at {file.stat().st_size:,} bytes ({first_line(error)}); fetch this file again"


def _damaged_pickle(file: Path) -> str | None:
    """As torch's safe loader sees it, which takes tensors only."""
    try:
        torch.load(file, map_location="meta", weights_only=True, mmap=zipfile.is_zipfile(file))
    except pickle.UnpicklingError:
        return "is a pickle of more than tensors, which could run code and is not loaded; take the model's safetensors"
    except Exception as error:  # of whatever a damaged archive makes of torch's reader
        return f"is cut short or damaged, at {file.stat().st_size:,} bytes ({first_line(error)}); fetch this file again"
    return None


def _no_tokenizer(path: Path) -> str | None:
    others = (file for pattern in ("*.model", "*.tiktoken") for file in path.glob(pattern))
    if any((path / name).is_file() for name in _TOKENIZER) or any(others):
        return None
    return (
        "holds no tokenizer (tokenizer.json, tokenizer.model or vocab files); fetch it to the weights: hf download "
        f"<its hub name> --include '*token*' 'vocab*' 'merges*' --local-dir {path}"
    )


# single files


def _not_gguf(path: Path) -> str | None:
    if path.suffix == GGUF or _beginning(path).startswith(b"GGUF"):
        return None
    if (path.parent / CONFIG).is_file():
        return f"is no folder with a {CONFIG} but a file in one; give the folder, {path.parent}"
    if zipfile.is_zipfile(path) or path.suffix in (".zip", ".tar", ".gz", ".tgz", ".zst", ".7z"):
        return f"is an archive; unpack it and give the folder with the {CONFIG}"
    return f"is a file, neither a folder with a {CONFIG} nor a GGUF file; check the path, or give a hub name"


def _no_gguf_reader(path: Path) -> str | None:
    if find_spec("gguf") is None:
        return "is a GGUF file, which needs the package gguf; install it with: pip install 'recbole_tslrec[gguf]'"
    return None


def _no_gguf(path: Path) -> str | None:
    if _beginning(path).startswith(b"GGUF"):
        return None
    return _placeholder(path) or "is no GGUF file, though it has that name; fetch it again"


def _damaged_gguf(path: Path) -> str | None:
    from gguf import GGUFReader, dequantize

    try:
        reader = GGUFReader(path)
    except Exception as error:  # the package checks nothing: its arrays run beyond the end of the file
        return f"is cut short or damaged, at {path.stat().st_size:,} bytes ({first_line(error)}); fetch it again"
    parts = reader.get_field("split.count")
    if parts is not None and int(parts.contents()) > 1:
        return (
            f"is one of {parts.contents()} parts, and transformers reads whole files; join them: llama-gguf-split "
            f"--merge {path.name} whole.gguf"
        )
    if not reader.tensors:
        return "holds a vocabulary but no weights; take the GGUF file of the model"
    for kind, tensor in {tensor.tensor_type: tensor for tensor in reader.tensors}.items():
        try:
            dequantize(tensor.data[..., :1, :] if tensor.data.ndim > 1 else tensor.data, kind)
        except Exception as error:
            return f"holds weights of type {kind.name}, undecodable by gguf ({first_line(error)}); take another type"
    return None


_FOLDERS: tuple[Check, ...] = (
    *(_missing, _empty, _adapter, _cache_folder, _whole_cache, _one_level_too_high, _only_gguf, _foreign),
    _no_config,
)
_WHOLE_FOLDERS: tuple[Check, ...] = (
    *(_dangling_links, _placeholders, _unreadable_config, _unreadable_index),
    *(_no_weights, _missing_shards, _damaged_weights, _no_tokenizer),
)
_FILES: tuple[Check, ...] = (_not_gguf, _no_gguf, _no_gguf_reader)
_WHOLE_FILES: tuple[Check, ...] = (_damaged_gguf,)


def _weight_names(path: Path) -> list[str]:
    """The files of weights that transformers would read, there or not."""
    for single in _WEIGHTS:
        if (path / single).is_file():
            return [single]
        index = path / f"{single}.index.json"
        if index.is_file():
            return sorted(set(map(str, _json(index).get("weight_map", {}).values())))
    return []


def _json(file: Path) -> dict[str, Any]:
    """An object from a file; what is no object is an empty one."""
    try:
        found = read_json(file)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _folders(path: Path) -> list[Path]:
    return sorted(found for found in path.iterdir() if found.is_dir())


def _beginning(file: Path) -> bytes:
    with file.open("rb") as stream:
        return stream.read(64)


def _some(names: Iterable[str]) -> str:
    found = list(names)
    return ", ".join(found[:3]) + (f" and {len(found) - 3} more" if len(found) > 3 else "")


def first_line(error: BaseException) -> str:
    """The first line of what an error says, or its kind."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
