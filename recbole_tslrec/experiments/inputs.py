"""The files that a run reads beside its settings, by their contents: if one has changed, a result is of other data."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recbole_tslrec.augmentation.vectors import listed_paths
from recbole_tslrec.store.contents import ContentHashes


@dataclass(frozen=True)
class Inputs:
    """Where the inputs of a run lie; what lies on the hub is known by its name alone.

    Attributes:
        artifacts_dir: where the hashes of files are kept.
        dataset: the folder of the atomic files, and the name before their suffixes.
        others: files and folders: the LLM, item vectors, groups.
    """

    artifacts_dir: str
    dataset: tuple[str, str]
    others: tuple[str, ...]

    @classmethod
    def of(cls, config: Any) -> "Inputs":
        """Those of a configuration."""
        given = [config["llm_name_or_path"], config["groups_path"], *listed_paths(config["knowledge_path"] or [])]
        dataset = str(config["data_path"]), str(config["dataset"])
        return cls(str(config["artifacts_dir"]), dataset, tuple(str(path) for path in given if path))


def hashes_of_inputs(inputs: Inputs) -> dict[str, str]:
    """A hash of each file that is there, by its name below what was given."""
    hashes = ContentHashes(inputs.artifacts_dir)
    folder, name = Path(inputs.dataset[0]), inputs.dataset[1]
    found = {file.name: hashes.of(file) for file in sorted(folder.glob(f"{name}.*")) if file.is_file()}
    for path in map(Path, inputs.others):
        if path.is_file():
            found[str(path)] = hashes.of(path)
        elif path.is_dir():
            found[str(path)] = hashes.of_all(path, (file for file in path.iterdir() if file.is_file()))
    return found
