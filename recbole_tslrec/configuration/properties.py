"""The yaml files of this package: where they lie, and the defaults that they hold."""

import functools
from pathlib import Path
from typing import Any

import recbole
import yaml
from recbole.model import sequential_recommender

from recbole_tslrec.models.backbones import BACKBONES, Backbone
from recbole_tslrec.models.names import ModelName
from recbole_tslrec.settings.recommender import valid_train_mode


def properties_folder() -> Path:
    """The folder ``properties/``: inside an installed package, or at the top of a checkout.

    Raises:
        FileNotFoundError: the installation lacks it.
    """
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "properties", package.parent / "properties"):
        if (folder / "overall.yaml").is_file():
            return folder
    raise FileNotFoundError(f"the properties of recbole_tslrec are not beside {package}; install the package again")


def read_properties(path: Path, loader: Any = yaml.SafeLoader) -> dict[str, Any]:
    """One yaml file, or nothing where it does not exist."""
    return (yaml.load(path.read_text(encoding="utf-8"), Loader=loader) or {}) if path.is_file() else {}


def own_defaults(backbone: str, dataset: str, loader: Any = yaml.SafeLoader, family: str = "") -> dict[str, Any]:
    """The defaults of this package: overall, embedded LLM, backbone, dataset, family, the later over the earlier.

    What a dataset's file says of the SFT, it says of TSLRec's; the recipes of other families are their authors'.
    """
    folder = properties_folder()
    names = ("overall", "llm/scratch", f"model/{backbone}", f"dataset/{dataset}", f"family/{family}")
    defaults: dict[str, Any] = {}
    for name in names:
        defaults.update(read_properties(folder / f"{name}.yaml", loader))
    return defaults


def defaults_without_family(name: ModelName, dataset: str, loader: Any) -> dict[str, Any]:
    """For the keys of a model's family what they are for its backbone."""
    of_family = read_properties(properties_folder() / f"family/{name.family.name}.yaml", loader)
    others = own_defaults(name.backbone, dataset, loader)
    return {key: others[key] for key in of_family}


def merge_own_defaults(config: Any, backbone: str, dataset: str, family: str = "") -> None:
    """Put the defaults of this package over RecBole's in ``config``, and what ``train_mode: auto`` means."""
    defaults = own_defaults(backbone, dataset, config.yaml_loader, family)
    loss_type = {**config.internal_config_dict, **defaults, **config.external_config_dict}.get("loss_type")
    if loss_type in (None, "BPR"):
        del defaults["train_neg_sample_args"]  # this package's is for other losses; RecBole's own draws one negative
    # this package names columns of interactions; RecBole those of items and entities, for the models that need them
    defaults["load_col"] = {**(config.internal_config_dict["load_col"] or {}), **defaults["load_col"]}
    config.internal_config_dict.update(defaults)
    causal = BACKBONES.get(backbone, Backbone()).causal
    mode = valid_train_mode({**config.internal_config_dict, **config.external_config_dict}, causal)
    of_the_user = config.external_config_dict
    (of_the_user if "train_mode" in of_the_user else config.internal_config_dict)["train_mode"] = mode


@functools.cache
def model_keys(backbone: str) -> frozenset[str]:
    """The keys of a model itself: those of its own yaml files, of RecBole and of this package.

    Of a user's own model, which has no such file, they are those of all sequential models.

    Args:
        backbone: the model's name.
    """
    theirs = Path(recbole.__file__).parent / "properties" / "model"
    folders = (theirs, properties_folder() / "model")
    keys = frozenset(key for folder in folders for key in read_properties(folder / f"{backbone}.yaml"))
    if keys:
        return keys
    others = [name for name in vars(sequential_recommender) if (theirs / f"{name}.yaml").is_file()]
    return frozenset().union(*map(model_keys, others))
