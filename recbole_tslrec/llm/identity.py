"""Which LLM a name or path means: what its files hold, not where they lie."""

from pathlib import Path

from recbole_tslrec.llm.checkpoint_files import why_no_checkpoint
from recbole_tslrec.llm.settings import LLMSettings
from recbole_tslrec.store.contents import ContentHashes

# configuration, weights in every format that transformers loads, tokenizer, and code that a checkpoint may bring along
_SUFFIXES = (
    *(".json", ".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".gguf"),
    *(".model", ".txt", ".jinja", ".tiktoken", ".py"),
)


class LLMError(RuntimeError):
    """The language model cannot be loaded or identified; the message says why and what to do."""


def llm_content(settings: LLMSettings, hashes: ContentHashes) -> dict[str, str]:
    """What a recipe says of the LLM: a hash of its files, or of a hub name the resolved revision.

    ``scratch`` has neither: its settings are all there is.

    Args:
        settings: which LLM.
        hashes: the hashes of files that were read before.

    Raises:
        LLMError: the path is neither a folder with a config.json nor a GGUF file; or the hub cannot be asked, and the
            model is not in the local cache.
    """
    if settings.is_scratch:
        return {}
    path = Path(settings.source)
    if not looks_like_a_path(settings.source):
        return {"llm": hub_revision(settings.source)}
    refuse_other_paths(settings.source)
    if path.is_file():
        return {"llm": hashes.of(path)}
    # a top-level file of a checkpoint, not whatever a training has left in folders below
    files = [file for file in path.iterdir() if file.suffix in _SUFFIXES and file.is_file()]
    return {"llm": hashes.of_all(path, files)}


def refuse_other_paths(source: str) -> None:
    """Refuse a path that is neither a folder with a config.json nor a GGUF file; says what it is, and what to give.

    Raises:
        LLMError: it is neither.
    """
    reason = why_no_checkpoint(Path(source))
    if reason is not None:
        raise LLMError(f"llm_name_or_path [{source}] {reason}")


def looks_like_a_path(name: str) -> bool:
    """Whether a name is taken for a path rather than a hub name."""
    return Path(name).exists() or name.startswith((".", "/", "~")) or name.count("/") > 1


def hub_revision(name: str) -> str:
    """The commit that a hub name stands for: the one in the local cache, else the newest one on the hub.

    Raises:
        LLMError: neither can be had.
    """
    from huggingface_hub import hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import RemoteEntryNotFoundError

    try:
        config = try_to_load_from_cache(name, "config.json")
        if not isinstance(config, str):
            config = hf_hub_download(name, "config.json")  # into the cache, so that later runs mean the same commit
        return Path(config).parent.name  # snapshots/<commit>/config.json
    except Exception as error:  # of whatever HTTP library the hub's client uses
        if isinstance(error, RemoteEntryNotFoundError):
            raise LLMError(
                f"[{name}] has no config.json on the hub: it holds adapters or GGUF files; give the base model, or the "
                f"path of a file that was fetched: hf download {name} <file>.gguf --local-dir ."
            ) from error
        raise LLMError(
            f"[{name}] is no folder, and its revision on the hub is unknown ({str(error).splitlines()[0]}); go online, "
            "give the folder of a downloaded model, or use llm_name_or_path=scratch"
        ) from error
