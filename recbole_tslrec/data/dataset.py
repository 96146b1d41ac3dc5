"""A RecBole dataset, loaded once: its histories, its fingerprint and, when a stage asks, its loaders."""

import functools
import traceback
from pathlib import Path
from typing import Any

from recbole.data import create_dataset, data_preparation
from recbole.utils import init_seed

from recbole_tslrec.data.atomic_files import DatasetError, check_atomic_files
from recbole_tslrec.data.histories import Histories, fingerprint, full_histories, training_histories
from recbole_tslrec.data.item_tokens import dataset_item_tokens
from recbole_tslrec.data.splits import check_split
from recbole_tslrec.store.contents import ContentHashes

__all__ = ["Data", "DatasetError"]


class Data:
    """The dataset of a configuration.

    Args:
        config: RecBole's configuration.

    Raises:
        DatasetError: its files or the columns for user, item and time are not there or cannot be read as they are, or
            the filters leave nothing.

    Attributes:
        dataset: RecBole's dataset.
        full: every interaction; only for the fingerprint and to cut the training part from.
        description: name, counts and fingerprint.
    """

    def __init__(self, config: Any) -> None:
        self.config = config
        check_atomic_files(config)
        self.dataset: Any = _load(config)
        self.full: Histories = full_histories(self.dataset)
        self.description: dict[str, Any] = fingerprint(self.dataset, self.full)
        self.item_tokens: list[str] = dataset_item_tokens(self.dataset)

    @functools.cached_property
    def loaders(self) -> tuple[Any, Any, Any]:
        """RecBole's training, validation and test loaders; making them rewrites ``dataset`` in place."""
        try:
            train_data, valid_data, test_data = data_preparation(self.config, self.dataset)
        except _FAULTS as error:
            if _is_ours(error):
                raise
            raise _not_loaded(self.config, error, "split") from error
        return train_data, valid_data, test_data

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
            return set(self.histories.items.tolist())
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
        """Refuse a split that leaves a part without rows which it is to have.

        Raises:
            DatasetError: says how many users have how many interactions.
        """
        check_split(self.config, self.full.lengths, [len(loader._dataset) for loader in self.loaders])


_KEYS_OF_LOADING = ("load_col", "val_interval", "eval_args", "benchmark_filename", "normalize_field", "threshold")

# what RecBole's loading raises for files and keys that do not go together
_FAULTS = (ValueError, TypeError, LookupError, AttributeError, AssertionError, ArithmeticError, NotImplementedError)


def _load(config: Any) -> Any:
    init_seed(config["seed"], config["reproducibility"])
    try:
        dataset = create_dataset(config)
    except _FAULTS as error:
        if "feat is empty" in str(error):
            raise DatasetError(
                f"no interaction of [{config['dataset']}] passes the filters; widen user_inter_num_interval, "
                "item_inter_num_interval and val_interval"
            ) from error
        raise _not_loaded(config, error, "load") from error
    absent = sorted(set(config["selected_features"] or ()) - set(dataset.field2type))
    if absent:
        raise DatasetError(
            f"{config['model']} needs column {', '.join(absent)} (selected_features), and [{config['dataset']}] was "
            f"loaded with {', '.join(dataset.field2type)}; list it in load_col, or name others in selected_features"
        )
    return dataset


def _is_ours(error: Exception) -> bool:
    """Whether a check of this package has raised it, which says what it has to say."""
    raised = Path(traceback.extract_tb(error.__traceback__)[-1].filename)
    return raised.is_relative_to(Path(__file__).parents[1])


def _not_loaded(config: Any, error: Exception, what: str) -> DatasetError:
    keys = {key: config[key] for key in _KEYS_OF_LOADING if config[key] is not None}
    return DatasetError(
        f"RecBole cannot {what} {Path(config['data_path'])}/{config['dataset']}.inter and the files beside it "
        f"({type(error).__name__}: {' '.join(str(error).split())}); check {keys}"
    )
