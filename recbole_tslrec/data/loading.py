"""RecBole's loading of a dataset: what may go wrong in it, said in this package's words."""

import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recbole.data import dataset as recbole_datasets
from recbole.data.dataset import Dataset, SequentialDataset
from recbole.utils import ModelType, init_seed

from recbole_tslrec.compatibility import sort_by_time
from recbole_tslrec.data.atomic_files import DatasetError, check_atomic_files
from recbole_tslrec.data.histories import Histories, fingerprint, full_histories

_KEYS_OF_LOADING = ("load_col", "val_interval", "eval_args", "benchmark_filename", "normalize_field", "threshold")

# what RecBole's loading raises for files and keys that do not go together
FAULTS = (ValueError, TypeError, LookupError, AttributeError, AssertionError, ArithmeticError, NotImplementedError)


@dataclass(frozen=True)
class Loaded:
    """A dataset, loaded.

    Attributes:
        dataset: RecBole's dataset.
        full: every interaction.
        description: name, counts and fingerprint.
    """

    dataset: Any
    full: Histories
    description: dict[str, Any]


def dataset_class(config: Any) -> type:
    """The class that RecBole's ``create_dataset`` takes."""
    is_sequential = config["MODEL_TYPE"] == ModelType.SEQUENTIAL
    kind: type = getattr(recbole_datasets, f"{config['model']}Dataset", SequentialDataset if is_sequential else Dataset)
    return kind


def load(config: Any) -> Loaded:
    """Check the atomic files and let RecBole load them.

    Unlike RecBole's ``create_dataset`` it reads no dataset that was saved: that is a pickle, which may run code, and it
    would be used even if the files have changed since.

    Raises:
        DatasetError: its files or the columns for user, item and time are not there or cannot be read as they are, or
            the filters leave nothing.
    """
    check_atomic_files(config)
    init_seed(config["seed"], config["reproducibility"])
    try:
        dataset = dataset_class(config)(config)
    except FAULTS as error:
        if "feat is empty" in str(error):
            raise DatasetError(
                f"no interaction of [{config['dataset']}] passes the filters; widen user_inter_num_interval, "
                "item_inter_num_interval and val_interval"
            ) from error
        raise not_loaded(config, error, "load") from error
    if config["save_dataset"]:
        dataset.save()
    if dataset.benchmark_filename_list is None and dataset.time_field in dataset.inter_feat:
        dataset.inter_feat = sort_by_time(dataset)  # as RecBole's sequential datasets do later
    full = full_histories(dataset)
    return Loaded(dataset, full, fingerprint(dataset, full))


def is_ours(error: Exception) -> bool:
    """Whether a check of this package has raised it, which says what it has to say."""
    raised = Path(traceback.extract_tb(error.__traceback__)[-1].filename)
    return raised.is_relative_to(Path(__file__).parents[1])


def not_loaded(config: Any, error: Exception, what: str) -> DatasetError:
    """The error of what RecBole cannot load or split."""
    keys = {key: config[key] for key in _KEYS_OF_LOADING if config[key] is not None}
    return DatasetError(
        f"RecBole cannot {what} {Path(config['data_path'])}/{config['dataset']}.inter and the files beside it "
        f"({type(error).__name__}: {' '.join(str(error).split())}); check {keys}"
    )
