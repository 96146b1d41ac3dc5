"""Item vectors on the Hugging Face hub: ``hf://<owner>/<name>[@<revision>][/<file>]`` becomes a path on this machine.

What is fetched is a knowledge artifact, verified by the hashes of its manifest, or a file of vectors that holds its
tokens. Contents decide what is found again, as those of any other path; the commit is part of the path.
"""

from collections.abc import Collection
from pathlib import Path, PurePosixPath

from recbole_tslrec.augmentation.vector_rows import TOKENS
from recbole_tslrec.store.artifacts import ITEM_TOKENS, MANIFEST, TENSORS
from recbole_tslrec.store.hub import HubAddress, HubError, fetch, parse_hub_address

SUFFIXES = (".safetensors", ".parquet", ".json", ".jsonl")  # nothing that could be unpickled
_FOUND = (".safetensors", ".parquet")  # without the name of a file


def fetch_vectors(text: str | Path) -> Path:
    """The folder of a knowledge artifact, or a file of vectors.

    Raises:
        HubError: the address has another form, the hub or the cache does not have it, or it has no vectors, or several
            files of them.
        ImportError: huggingface_hub is not installed.
    """
    address = parse_hub_address(text)
    folder, names = fetch(address, lambda files: chosen(files, address))
    return folder if MANIFEST in names else folder / names[0]


def chosen(files: Collection[str], address: HubAddress) -> list[str]:
    """Which files of a repository are fetched, that of the vectors first.

    Raises:
        HubError: there are none, or several that could be meant.
    """
    if address.file:
        return _named(files, address)
    artifact = [MANIFEST, TENSORS, ITEM_TOKENS]
    if set(artifact) <= set(files):
        return artifact
    found = [name for name in files if name.endswith(_FOUND)]
    if len(found) == 1:
        return _named(files, address._replace(file=found[0]))
    if found:
        raise HubError(f"{address} has several files that may hold vectors; name one: {address}/{min(found)}")
    raise HubError(f"{address} holds neither a knowledge artifact nor item vectors ({' or '.join(_FOUND)})")


def _named(files: Collection[str], address: HubAddress) -> list[str]:
    if not address.file.endswith(SUFFIXES):
        raise HubError(f"{address} is not fetched: from the hub only {', '.join(SUFFIXES)} are read")
    if address.file not in files:
        raise HubError(f"{address} does not exist: the repository has {', '.join(sorted(files)) or 'no file'}")
    beside = str(PurePosixPath(address.file).with_name(TOKENS))
    return [address.file, *([beside] if beside in files else [])]
