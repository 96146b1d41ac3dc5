"""A RecBole dataset, loaded once: its histories, its fingerprint and, when a stage asks, its loaders."""

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from recbole.data import data_preparation
from recbole.data import utils as recbole_utils

from recbole_tslrec.compute.shared_memory import check_shared_memory
from recbole_tslrec.data.atomic_files import DatasetError
from recbole_tslrec.data.histories import Histories, training_histories
from recbole_tslrec.data.item_tokens import dataset_item_tokens
from recbole_tslrec.data.loading import FAULTS, is_ours, load, not_loaded
from recbole_tslrec.data.splits import check_split
from recbole_tslrec.data.stage import load_mapped
from recbole_tslrec.store.contents import ContentHashes

__all__ = ["Data", "DatasetError"]

_NUMBER_BYTES = 8
_FEWEST = 2  # interactions that make one training row


class Data:
    """The dataset of a configuration.

    Args:
        config: RecBole's configuration.
        artifacts_dir: the folder of artifacts, in which the data stage keeps what it has read, see
            :func:`recbole_tslrec.data.stage.load_mapped`; ``None`` reads the files and keeps nothing.
        rebuild: whether to read the files even if that is kept.

    Raises:
        DatasetError: its files or the columns for user, item and time are not there or cannot be read as they are, or
            the filters leave nothing.

    Attributes:
        dataset: RecBole's dataset.
        full: every interaction; only for the fingerprint and to cut the training part from.
        description: name, counts and fingerprint.
    """

    def __init__(self, config: Any, artifacts_dir: str | Path | None = None, rebuild: bool = False) -> None:
        self.config = config
        loaded = load(config) if artifacts_dir is None else load_mapped(config, artifacts_dir, rebuild)
        self.dataset: Any = loaded.dataset
        self.full: Histories = loaded.full
        self.description: dict[str, Any] = loaded.description
        _check_selected_features(config, self.dataset)
        self.item_tokens: list[str] = dataset_item_tokens(self.dataset)

    @functools.cached_property
    def loaders(self) -> tuple[Any, Any, Any]:
        """RecBole's training, validation and test loaders; making them rewrites ``dataset`` in place.

        Raises:
            DatasetError: RecBole cannot split the dataset so.
            RuntimeError: ``worker`` asks for processes whose batches do not fit the shared memory.
        """
        check_shared_memory(self.config["worker"], self._batch_bytes())
        if self.dataset.benchmark_filename_list is None and self.full.lengths.max() < _FEWEST:
            raise DatasetError(
                f"no user of [{self.config['dataset']}] has {_FEWEST} interactions, so none has a next item to learn; "
                "check which column of the .inter file is the user's"
            )
        try:
            with _no_saved_loaders():
                train_data, valid_data, test_data = data_preparation(self.config, self.dataset)
        except FAULTS as error:
            if is_ours(error):
                raise
            raise not_loaded(self.config, error, "split") from error
        return train_data, valid_data, test_data

    def _batch_bytes(self) -> int:
        """What a batch takes at most, of the training or the validation: a list of each column, and the column."""
        columns, longest = len(list(self.dataset.inter_feat)), self.config["MAX_ITEM_LIST_LENGTH"]
        rows = max(self.config["train_batch_size"], self.config["eval_batch_size"])
        return int(rows * columns * (longest + 1) * _NUMBER_BYTES)

    @functools.cached_property
    def histories(self) -> Histories:
        """The training part of every user's interactions."""
        return training_histories(self.full, self.loaders[0]._dataset)

    def check_histories(self) -> None:
        """Refuse what :func:`training_histories` refuses.

        Raises:
            ValueError: the training part of a user is empty or cannot be told.
        """
        training_histories(self.full, self.loaders[0]._dataset)

    @property
    def trained_items(self) -> set[int]:
        """The item ids of the training part."""
        if self.dataset.benchmark_filename_list is None:
            return set(np.unique(self.histories.items).tolist())
        rows = self.loaders[0]._dataset
        seen = rows.inter_feat[rows.item_id_list_field].unique().tolist(), rows.inter_feat[rows.iid_field].tolist()
        return set().union(*seen) - {0}

    def feature_contents(self, hashes: ContentHashes) -> dict[str, str]:
        """Hashes of the files beside the interactions that RecBole has read: features of items, a knowledge graph, ...

        Args:
            hashes: the hashes of files that were read before.
        """
        folder, name = Path(self.config["data_path"]), self.config["dataset"]
        wanted = self.config["load_col"]
        files = [file for file in folder.glob(f"{name}.*") if wanted is None or file.suffix[1:] in wanted]
        return {file.suffix[1:]: hashes.of(file) for file in sorted(files) if file.suffix != ".inter"}

    def check_split(self) -> None:
        """Refuse a split that leaves a part without rows which it is to have, or a user without a training interaction.

        Raises:
            DatasetError: says how many users have how many interactions.
            ValueError: the training part of a user is empty.
        """
        check_split(self.config, self.full.lengths, [len(loader._dataset) for loader in self.loaders])
        if self.dataset.benchmark_filename_list is None:
            self.check_histories()


def _check_selected_features(config: Any, dataset: Any) -> None:
    absent = sorted(set(config["selected_features"] or ()) - set(dataset.field2type))
    if absent:
        raise DatasetError(
            f"{config['model']} needs column {', '.join(absent)} (selected_features), and [{config['dataset']}] was "
            f"loaded with {', '.join(dataset.field2type)}; list it in load_col, or name others in selected_features"
        )


@contextmanager
def _no_saved_loaders() -> Iterator[None]:
    """RecBole's ``data_preparation`` would unpickle loaders of an earlier run that lie in ``checkpoint_dir``."""
    own = recbole_utils.load_split_dataloaders
    recbole_utils.load_split_dataloaders = lambda _: None
    try:
        yield
    finally:
        recbole_utils.load_split_dataloaders = own
