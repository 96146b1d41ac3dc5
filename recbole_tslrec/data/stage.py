"""The data stage: a dataset is read, checked and filtered once; runs, seeds, trials and processes map what it left.

Its artifact is found by the contents of the atomic files and the keys that decide what RecBole makes of them. Opening
reads no array: a file whose size and time of change are those of its last hash counts as unchanged.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from logging import getLogger
from pathlib import Path
from typing import Any

from recbole.data.dataset import Dataset, SequentialDataset
from recbole.utils import init_seed

from recbole_tslrec.compute import distributed
from recbole_tslrec.data.atomic_files import DatasetError, check_files, loaded_columns, open_atomic_file
from recbole_tslrec.data.loading import Loaded, dataset_class, load
from recbole_tslrec.data.mapped_dataset import map_dataset, write_dataset
from recbole_tslrec.settings.folders import check_writable
from recbole_tslrec.settings.recommender import DatasetSettings
from recbole_tslrec.store.artifacts import Artifact, ArtifactError, Recipe, Store
from recbole_tslrec.store.contents import ContentHashes

KIND = "data"

_OF_ROWS = "how rows are made of the interactions, behind the loading"
_OF_GRAPHS = "of knowledge graphs, whose datasets are not mapped"
# keys of a dataset that change nothing in what is kept
NEUTRAL = {
    **dict.fromkeys(("NEG_PREFIX", "LIST_SUFFIX", "ITEM_LIST_LENGTH_FIELD", "MAX_ITEM_LIST_LENGTH"), _OF_ROWS),
    **dict.fromkeys(("POSITION_FIELD", "unused_col", "RATING_FIELD"), _OF_ROWS),
    **dict.fromkeys(
        ("HEAD_ENTITY_ID_FIELD", "TAIL_ENTITY_ID_FIELD", "RELATION_ID_FIELD", "ENTITY_ID_FIELD"), _OF_GRAPHS
    ),
    **dict.fromkeys(("kg_reverse_r", "entity_kg_num_interval", "relation_kg_num_interval"), _OF_GRAPHS),
    **dict.fromkeys(("alias_of_entity_id", "alias_of_relation_id"), _OF_GRAPHS),
}
_NOT_MAPPED = ("benchmark_filename", "additional_feat_suffix", "preload_weight", "numerical_features", "discretization",
               "save_dataset")  # fmt: skip
_STEPS = ("_from_scratch", "_get_preset", "_get_field_from_config", "_load_data", "_init_alias", "_data_processing")


def load_mapped(config: Any, artifacts_dir: str | Path, rebuild: bool = False) -> Loaded:
    """Find or build the data artifact of a configuration, and map it.

    What is not mapped (:func:`why_not_mapped`) is loaded by RecBole in each run, with the same result.

    Args:
        config: RecBole's configuration.
        artifacts_dir: the folder of artifacts.
        rebuild: whether to build it anew.

    Raises:
        DatasetError: as :func:`recbole_tslrec.data.loading.load`; or a file was changed while it was read.
        ConfigError: the folder cannot be written to.
        OSError: its disk is full.
    """
    why_not = why_not_mapped(config)
    if why_not:
        getLogger().info(f"[{KIND}] [{config['dataset']}] is read anew in each run, since {why_not}")
        return load(config)
    hashes = ContentHashes(artifacts_dir)
    store = Store(Path(artifacts_dir) / config["dataset"], hashes.of)
    recipe = Recipe(_settings(config), contents=_contents(config, hashes))
    artifact = None if rebuild else _find(store, recipe)
    if distributed.from_main(artifact is not None):
        artifact = artifact or store.open(store.folder(KIND, recipe), KIND)
        getLogger().info(
            f"[{KIND}] the dataset: mapped from {artifact.folder} (reading it took {artifact.seconds:.1f} s)"
        )
        for level, message in artifact.manifest["report"]["said"]:
            getLogger().log(level, message)
    else:
        check_writable(store.root, "artifacts", "name a folder of your own with --artifacts_dir")
        getLogger().info(f"[{KIND}] read, check and filter the dataset: building {store.folder(KIND, recipe)}")
        artifact = store.build(KIND, recipe, lambda folder: _build(folder, config, recipe, hashes))
    init_seed(config["seed"], config["reproducibility"])  # as the loading leaves it
    dataset, full = map_dataset(artifact.folder, config, dataset_class(config))
    return Loaded(dataset, full, dict(artifact.manifest["report"]["description"]))


def why_not_mapped(config: Any) -> str:
    """What of a configuration only RecBole's own loading gives; empty where all can be mapped.

    Raises:
        DatasetError: there is no ``.inter`` file, or its first line names no columns.
    """
    paths = check_files(config)
    kind = dataset_class(config)
    if not issubclass(kind, SequentialDataset) or any(
        getattr(kind, step) is not getattr(Dataset, step) for step in _STEPS
    ):
        return f"{kind.__name__} of {config['model']} loads it in its own way"
    for key in _NOT_MAPPED:
        if config[key]:
            return f"{key} is set"
    file = open_atomic_file(paths[0], config)
    lists = [name for name in file.types if name in loaded_columns(config, file) and file.types[name].endswith("_seq")]
    return f"column {', '.join(lists)} of its interactions holds lists" if lists else ""


def _settings(config: Any) -> dict[str, Any]:
    return {key: value for key, value in DatasetSettings.of(config).recipe().items() if key not in NEUTRAL}


def _contents(config: Any, hashes: ContentHashes) -> dict[str, str]:
    """The hashes of the files that are read."""
    load_col, found = config["load_col"], {}
    for suffix in ("inter", "user", "item"):
        path = Path(config["data_path"]) / f"{config['dataset']}.{suffix}"
        if (load_col is None or load_col.get(suffix)) and path.is_file():
            found[suffix] = hashes.of(path)
    return found


def _find(store: Store, recipe: Recipe) -> Artifact | None:
    try:
        return store.find(KIND, recipe)
    except ArtifactError as error:
        getLogger().warning(f"{error}; it is made anew from the dataset's files")
        return None


def _build(folder: Path, config: Any, recipe: Recipe, hashes: ContentHashes) -> Mapping[str, Any]:
    with _listening() as said:
        loaded = load(config)
    if _contents(config, hashes) != recipe.contents:
        raise DatasetError(
            f"the files of [{config['dataset']}] in {config['data_path']} were changed while they were read; run again "
            "when they are complete"
        )
    write_dataset(folder, loaded.dataset, loaded.full)
    return {"description": loaded.description, "said": said}


@contextmanager
def _listening() -> Iterator[list[tuple[int, str]]]:
    """What is logged meanwhile, for those who only map what was read: level and message."""
    said: list[tuple[int, str]] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append((record.levelno, record.getMessage()))

    listener = Listener(logging.INFO)
    getLogger().addHandler(listener)
    try:
        yield said
    finally:
        getLogger().removeHandler(listener)
