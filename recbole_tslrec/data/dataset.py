"""A RecBole dataset, loaded once: its histories, its fingerprint and, when a stage asks, its loaders."""

import functools
from pathlib import Path
from typing import Any

from recbole.data import create_dataset, data_preparation
from recbole.utils import init_seed

from recbole_tslrec.data.histories import Histories, fingerprint, full_histories, training_histories
from recbole_tslrec.data.item_tokens import dataset_item_tokens
from recbole_tslrec.store.contents import ContentHashes


class DatasetError(ValueError):
    """The dataset does not exist, lacks a column, or nothing of it is left."""


class Data:
    """The dataset of a configuration.

    Args:
        config: RecBole's configuration.

    Raises:
        DatasetError: its files or the columns for user, item and time are not there, or the filters leave nothing.

    Attributes:
        dataset: RecBole's dataset.
        full: every interaction; only for the fingerprint and to cut the training part from.
        description: name, counts and fingerprint.
    """

    def __init__(self, config: Any) -> None:
        check_files(config)
        name = config["dataset"]
        self.config = config
        init_seed(config["seed"], config["reproducibility"])
        try:
            self.dataset: Any = create_dataset(config)
        except ValueError as error:
            if "feat is empty" not in str(error):
                raise
            raise DatasetError(
                f"no interaction of [{name}] passes the filters; widen user_inter_num_interval, "
                "item_inter_num_interval and val_interval"
            ) from error
        missing = {config[f"{field}_FIELD"] for field in ("USER_ID", "ITEM_ID", "TIME")} - set(self.dataset.inter_feat)
        if missing:
            raise DatasetError(
                f"dataset [{name}] was loaded without {', '.join(sorted(map(str, missing)))}; name your columns with "
                "USER_ID_FIELD, ITEM_ID_FIELD and TIME_FIELD, and list them in load_col"
            )
        self.full: Histories = full_histories(self.dataset)
        self.description: dict[str, Any] = fingerprint(self.dataset, self.full)
        self.item_tokens: list[str] = dataset_item_tokens(self.dataset)

    @functools.cached_property
    def loaders(self) -> tuple[Any, Any, Any]:
        """RecBole's training, validation and test loaders; making them rewrites ``dataset`` in place."""
        train_data, valid_data, test_data = data_preparation(self.config, self.dataset)
        return train_data, valid_data, test_data

    @functools.cached_property
    def histories(self) -> Histories:
        """The training part of every user's interactions."""
        return training_histories(self.full, self.loaders[0]._dataset)

    def feature_contents(self, hashes: ContentHashes) -> dict[str, str]:
        """Hashes of the files beside the interactions that RecBole has read: features of items, a knowledge graph, ...

        Args:
            hashes: the hashes of files that were read before.
        """
        folder, name = Path(self.config["data_path"]), self.config["dataset"]
        wanted = self.config["load_col"]
        files = [file for file in folder.glob(f"{name}.*") if wanted is None or file.suffix[1:] in wanted]
        return {file.suffix[1:]: hashes.of(file) for file in sorted(files) if file.suffix != ".inter"}


def check_files(config: Any) -> None:
    """Refuse a dataset without files.

    Raises:
        DatasetError: names the file that is looked for.
    """
    folder, name = Path(config["data_path"]), config["dataset"]
    if not any(folder.glob("*.inter")):
        raise DatasetError(
            f"dataset [{name}] does not exist: there is no {folder / name}.inter; put RecBole's atomic files "
            "there, or set --data_path. ml-100k comes with RecBole"
        )
