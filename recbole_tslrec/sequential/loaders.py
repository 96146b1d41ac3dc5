"""How RecBole's ``create_dataset`` and ``data_preparation`` come to use the datasets and loaders of this package."""

from collections.abc import Callable
from typing import Any, Literal

from recbole.data import dataset as recbole_datasets
from recbole.data import utils as recbole_loading

from recbole_tslrec.compatibility.wrapping import wrap_once
from recbole_tslrec.sequential.prefix_samples import PrefixSampleLoader
from recbole_tslrec.sequential.prefixes import PrefixDataset
from recbole_tslrec.sequential.windows import WindowLoader


class KnowledgeGraphPrefixDataset(PrefixDataset, recbole_datasets.KGSeqDataset):  # type: ignore[misc]
    """The prefixes of a dataset with a knowledge graph, as GRU4RecKG needs it."""


def register_loader() -> None:
    """Let RecBole's ``data_preparation`` take the loader of ``train_mode`` and ``prefixes_per_user``."""
    wrap_once(recbole_loading, "get_dataloader", _loader_of_the_mode)


def _loader_of_the_mode(
    get_dataloader: Callable[..., Any], config: Any, phase: Literal["train", "valid", "test", "evaluation"]
) -> Any:
    if phase == "train" and config["train_mode"] == "all_positions":
        return WindowLoader
    if phase == "train" and config["prefixes_per_user"]:
        return PrefixSampleLoader
    return get_dataloader(config, phase)
